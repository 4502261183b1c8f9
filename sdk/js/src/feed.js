'use strict';

const { Backoff } = require('./backoff');

/**
 * Something is sent this often. A phone does not see the gateway's pings: only what it sends itself shows that a path
 * is dead. Fifteen seconds: the network's own retries then end within a minute.
 */
const KEEPALIVE_MS = 15000;

/** The socket was taken over by a newer one of the same member: another page holds the same token. */
const CLOSE_REPLACED = 4009;
const REASON_OTHER_DEVICE = 10;

/**
 * The event socket of one stay: opens, resumes behind the last frame that was seen, and waits longer each time it
 * fails.
 *
 * States: `waiting` (for a place or for the next attempt) → `connecting` → `open` → `waiting` …, and `closed` for
 * good. `handlers`: `frame(frame)`, `state(state)`, and `end({ reason, failed })` once, when the gateway says that
 * the stay is over; nothing follows that.
 */
class Feed {
  constructor(platform, { url, token, after }, handlers) {
    this._platform = platform;
    this._url = url;
    this._token = token;
    this._handlers = handlers;
    this._seq = after;
    this._backoff = new Backoff(platform.random);
    this._socket = null;
    this._release = null;
    this._retry = null;
    this._keepalive = null;
    this.state = 'waiting';
  }

  /** Asks for a socket, after `token()` of this moment. */
  open() {
    this._release = this._platform.socketSlots.take(() => this._connect());
  }

  /**
   * What made an attempt fail may be over (the network is back, the page is seen): tries at once, with a new socket.
   * False where there is no place for one.
   */
  nudge() {
    this._backoff.reset();
    if (this.state === 'closed' || !this._hasPlace()) return false;
    this._connect();
    return true;
  }

  /** For good; nothing is told any more. */
  close() {
    this._let();
    this._become('closed');
    if (this._release) this._release();
    this._release = null;
  }

  _hasPlace() {
    return this._socket !== null || this._retry !== null;
  }

  _connect() {
    this._let();
    if (this.state === 'closed') return;
    this._become('connecting');
    const after = this._seq === null ? '' : `?after=${this._seq}`;
    // What is left over of an earlier socket means nothing.
    const ifCurrent = (handle) => (value) => socket === this._socket && handle(value);
    const handlers = {
      open: ifCurrent(() => this._opened()),
      message: ifCurrent((text) => this._hear(text)),
      close: ifCurrent((code) => this._closed(code)),
    };
    const socket = this._platform.openSocket({ url: this._url + after, token: this._token() }, handlers);
    this._socket = socket;
  }

  /** Lets go of the socket and of all timers. */
  _let() {
    const { clearTimer } = this._platform;
    clearTimer(this._retry);
    clearTimer(this._keepalive);
    this._retry = null;
    this._keepalive = null;
    const socket = this._socket;
    this._socket = null;
    if (socket) socket.close();
  }

  _opened() {
    this._backoff.reset();
    this._become('open');
    this._keepAlive();
  }

  _keepAlive() {
    this._keepalive = this._platform.setTimer(() => {
      if (this._socket) this._socket.send('{}');
      this._keepAlive();
    }, KEEPALIVE_MS);
  }

  _hear(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch (_) {
      return;
    }
    if (frame.type === 'conferenceExit') return this._end(frame);
    if (frame.type === 'snapshot') {
      this._seq = frame.seq;
    } else if (frame.type !== 'serverDraining') {
      // Something was missed: only a snapshot tells what.
      if (this._seq !== null && frame.prev !== this._seq) {
        this._seq = null;
        return this._connect();
      }
      this._seq = frame.seq;
    }
    this._handlers.frame(frame);
  }

  _closed(code) {
    this._socket = null;
    this._let();
    if (code === CLOSE_REPLACED) return this._end({ reason: REASON_OTHER_DEVICE });
    // A socket that was closed when the stay ended has told so in its last frame: all else passes.
    this._become('waiting');
    this._retry = this._platform.setTimer(() => this._connect(), this._backoff.next());
  }

  _end({ reason, failed }) {
    this.close();
    this._handlers.end({ reason, failed });
  }

  _become(state) {
    if (this.state === state) return;
    this.state = state;
    this._handlers.state(state);
  }
}

module.exports = { Feed };
