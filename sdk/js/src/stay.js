'use strict';

const { ExitReason } = require('./constants');
const { Feed } = require('./feed');

/** A heartbeat this often while no socket is open: well within the twenty seconds that the gateway waits by default. */
const HEARTBEAT_MS = 7000;

/**
 * One membership: its token, its event socket, and the heartbeats that stand in for the socket.
 *
 * `handlers`: `frame(frame)`, `socket(isOpen)`, and `end({ reason, failed })` once.
 */
class Stay {
  constructor(platform, api, joined, handlers) {
    this._platform = platform;
    this._api = api;
    this._handlers = handlers;
    this._heartbeat = null;
    this.confrId = joined.confr.confrId;
    this.memId = joined.member.id;
    this.token = joined.roleToken;
    const wanted = { url: joined.eventsUrl, token: () => this.token, after: joined.confr.seq };
    this._feed = new Feed(platform, wanted, {
      frame: (frame) => this._hear(frame),
      state: (state) => this._feedIs(state),
      end: (end) => this._end(end),
    });
  }

  begin() {
    this._beatSoon();
    this._feed.open();
  }

  /** Tries the socket again at once. */
  nudge() {
    this._feed.nudge();
  }

  /**
   * A refusal may say that the stay is over. The feed tells how it ended; where it has no socket the refusal is all
   * there is to know.
   */
  doubt(error) {
    if (error.reason !== 'member_gone' && error.reason !== 'conference_closed') return;
    if (this._feed.nudge()) return;
    this.close();
    const reason = error.reason === 'member_gone' ? ExitReason.FAILED : ExitReason.CLOSED;
    this._handlers.end({ reason, failed: error.code });
  }

  /** Nothing is told any more. The gateway is not told either. */
  close() {
    this._feed.close();
    this._stopBeating();
  }

  _hear(frame) {
    if (frame.roleToken) this.token = frame.roleToken;
    this._handlers.frame(frame);
  }

  _feedIs(state) {
    if (state === 'open') this._stopBeating();
    else if (state === 'waiting') this._beatSoon();
    if (state === 'open' || state === 'waiting') this._handlers.socket(state === 'open');
  }

  _end(end) {
    this._stopBeating();
    this._handlers.end(end);
  }

  _beatSoon() {
    this._stopBeating();
    this._heartbeat = this._platform.setTimer(() => this._beat(), HEARTBEAT_MS);
  }

  _stopBeating() {
    this._platform.clearTimer(this._heartbeat);
    this._heartbeat = null;
  }

  _beat() {
    this._beatSoon();
    this._api.heartbeat(this.confrId, this.token).catch((error) => this.doubt(error));
  }
}

module.exports = { Stay };
