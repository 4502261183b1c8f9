'use strict';

const { Backoff } = require('../backoff');
const { Emitter, call } = require('../emitter');
const { codeOf } = require('./codes');

/** How long a picture counts as weak after the component said so; it says it again while it lasts. */
const WEAK_MS = 10000;
/** Media that flowed for this long was no accident: the next loss waits briefly again. */
const SETTLED_MS = 10000;

/**
 * A live-pusher or live-player and the URL that it uses. It turns the component's codes into a state, gets new URLs,
 * and tells the component when to start and stop.
 *
 * The page hands on what the component says (`handleStateChange`, `handleError`) and does as it is told, either by
 * `attach(element)` or by the events `start` `{ url }` and `stop`. `change` comes with every change of `state`, `url`
 * or `weak`.
 */
class Track extends Emitter {
  /** `ask(): Promise<url>` gets a URL; `step` is the state machine, `words` its codes. */
  constructor(platform, { step, words, ask, url, state }) {
    super();
    this._platform = platform;
    this._step = step;
    this._words = words;
    this._ask = ask;
    this._backoff = new Backoff(platform.random);
    this._timer = null;
    this._weakTimer = null;
    this._settleTimer = null;
    this._asking = 0;
    this._element = null;
    this.url = url;
    this.state = state;
    /** The network of this picture is poor just now. */
    this.weak = false;
  }

  /**
   * Lets the SDK drive the component: `element` is `{ setUrl(url, done), start(), stop() }`. `start` is called when
   * the component has the URL. The answer takes it back.
   */
  attach(element) {
    this._element = element;
    if (this.url && !isIdle(this.state)) this._start();
    return () => {
      if (this._element === element) this._element = null;
    };
  }

  /** What `bindstatechange` gave: the event, or its code. */
  handleStateChange(event) {
    if (this.state.name === 'stopped') return;
    const word = this._words[codeOf(event)];
    if (word === 'weak') this._weaken();
    this._input({ type: 'code', word });
  }

  /** What `bindnetstatus` gave. Tells nothing yet that the codes do not. */
  handleNetStatus(event) {
    const info = (event && event.detail && event.detail.info) || {};
    this.emit('netStatus', { info });
  }

  /** Tries again after `failed`, or asks for a new URL now. */
  retry() {
    this._backoff.reset();
    this._input({ type: 'retry' });
  }

  /** The page is seen again, the phone call is over. */
  resume() {
    this._input({ type: 'resumed' });
  }

  /** Never again. */
  _over(reason) {
    this._input({ type: 'over', reason });
    this._clear();
    this._asking += 1;
    this.finish();
  }

  _input(input) {
    const { state, act } = this._step(this.state, input);
    const changed = state !== this.state && JSON.stringify(state) !== JSON.stringify(this.state);
    this.state = state;
    if (changed) {
      this._settle();
      this._tell();
    }
    if (act === 'start') this._start();
    if (act === 'stop') this._stop();
    if (act === 'refresh') this._refreshSoon();
  }

  _tell() {
    this.emit('change', { state: this.state, url: this.url, weak: this.weak });
  }

  _start() {
    const url = this.url;
    this.emit('start', { url });
    const element = this._element;
    if (!element) return;
    call(() =>
      element.setUrl(url, () => {
        if (this._element === element && this.url === url && !isIdle(this.state)) call(() => element.start());
      })
    );
  }

  _stop() {
    this.emit('stop', {});
    const element = this._element;
    if (element) call(() => element.stop());
  }

  /** Asks for a URL after a wait that grows while it does not help. */
  _refreshSoon() {
    this._platform.clearTimer(this._timer);
    this._timer = this._platform.setTimer(() => this._refresh(), this._backoff.next());
  }

  async _refresh() {
    const asking = (this._asking += 1);
    try {
      const url = await this._ask();
      if (asking === this._asking) this._replace(url);
    } catch (error) {
      if (asking !== this._asking) return;
      // A stay that is over is told by the feed; until then there may be a new one.
      if (error.isPassing || error.reason === 'member_gone' || error.reason === 'not_joined') this._refreshSoon();
      else this._refused(error);
    }
  }

  _replace(url) {
    this.url = url;
    this._input({ type: 'url' });
    this._tell();
  }

  _refused(error) {
    this._input({ type: 'refuse', reason: error.reason || 'invalid_answer' });
  }

  _settle() {
    this._platform.clearTimer(this._settleTimer);
    if (this.state.name !== 'live' && this.state.name !== 'playing') return;
    this._settleTimer = this._platform.setTimer(() => this._backoff.reset(), SETTLED_MS);
  }

  _weaken() {
    this._platform.clearTimer(this._weakTimer);
    this._weakTimer = this._platform.setTimer(() => {
      this.weak = false;
      this._tell();
    }, WEAK_MS);
    if (this.weak) return;
    this.weak = true;
    this._tell();
  }

  _clear() {
    const { clearTimer } = this._platform;
    clearTimer(this._timer);
    clearTimer(this._weakTimer);
    clearTimer(this._settleTimer);
  }
}

/** Nothing is to flow in these states. */
function isIdle(state) {
  return ['stopped', 'failed', 'waiting', 'suspended', 'refreshing'].includes(state.name);
}

module.exports = { Track };
