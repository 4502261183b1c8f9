'use strict';

const { Api } = require('./api');
const { Admission, UserTokens } = require('./admission');
const { Backoff } = require('./backoff');
const { ExitReason } = require('./constants');
const { Emitter } = require('./emitter');
const { TidegateError } = require('./errors');
const { MediaShelf } = require('./media/shelf');
const { defaultPlatform } = require('./platform');
const { Requests } = require('./requests');
const { Roster } = require('./roster');
const { Stay } = require('./stay');

/** Without the gateway for so long, a call is over. Two minutes: an empty conference waits as long for its members. */
const GIVE_UP_MS = 120000;
/** In the background for longer, WeChat has cut the sockets, told or not. */
const HIDDEN_MS = 5000;

/**
 * One call: from the join to the end.
 *
 * ```text
 * idle ──join──► joining ──► joined ◄──► reconnecting      (the socket is away; the member is still inside)
 *                              ▲  └──────────┬
 *                              └── rejoining ◄┘            (the gateway gave the member up; it joins again)
 * any ──leave, kick, end, give up──► left                  (for good: a new call is a new Conference)
 * ```
 *
 * `options`: `apiURL`; `token` or `getToken()`, the user token; `platform`, where it is not `wx`, the browser or node
 * itself; `giveUpMs`.
 *
 * Events, each an object: `stateChanged { state }`, `memberJoined { member }`, `memberExited { member, reason }`,
 * `memberChanged { member, isSelf }`, `roleChanged { member, role, isSelf }`, `streamAdded { stream, member }`,
 * `streamRemoved { stream, member, reason }`, `mediaChanged { stream, member, refused }`, `conferenceChanged {
 * conference }`, `message { from, body }`, `serverDraining { deadlineMs }`, `rejoined { member }`, `left { reason,
 * failed }`. Whoever is inside at the join is in `members` and `streams`, and is not told by events.
 */
class Conference extends Emitter {
  constructor(options) {
    super();
    const given = options || {};
    this._platform = given.platform || defaultPlatform();
    this._api = new Api(new Requests(this._platform, given.apiURL));
    this._tokens = new UserTokens(given);
    this._giveUpMs = given.giveUpMs || GIVE_UP_MS;
    this._roster = new Roster();
    this._shelf = new MediaShelf(this);
    this._admission = null;
    this._stay = null;
    this._giveUp = null;
    this._hiddenAt = null;
    this._offs = [];
    this.state = 'idle';
  }

  /**
   * Makes a conference and answers it as the gateway does, with `confrId`, `password` and the creator's ADMIN
   * `ticket`. Nobody is inside yet; without a first member it ends after two minutes.
   */
  static async create(options, settings) {
    const conference = new Conference(options);
    return conference._tokens.use((token) => conference._api.createConference(token, settings || {}));
  }

  /** A ticket for the own user, by the password: `{ ticket, role, expiresAt }`. */
  static async requestTicket(options, { confrId, password, role }) {
    const conference = new Conference(options);
    const wanted = Object.assign({ password: password || '' }, role ? { role } : {});
    return conference._tokens.use((token) => conference._api.issueTicket(confrId, token, wanted));
  }

  /** Null before the join. */
  get confrId() {
    return this._stay && this._stay.confrId;
  }

  /** The own member; null before the join. */
  get self() {
    return this._roster.self;
  }

  /** The own role, 0 before the join. */
  get role() {
    return this.self ? this.self.role : 0;
  }

  /** What the gateway told of the conference last: settings and metadata. Who is inside stands in `members`. */
  get info() {
    return this._roster.conference;
  }

  /** Who is inside, by id, oneself included. In a LIVE conference without the audience. */
  get members() {
    return this._roster.members;
  }

  /** The streams whose media flows, by id, the own ones included. */
  get streams() {
    return this._roster.streams;
  }

  /** The member token, for calls of one's own. It changes with roles and rejoins. */
  get roleToken() {
    return this._stay && this._stay.token;
  }

  /** The own streams, by rtcId. */
  get publications() {
    return this._shelf.publications;
  }

  /** The streams that are watched, by their id. */
  get subscriptions() {
    return this._shelf.subscriptions;
  }

  /**
   * Goes in. `target`: `{ confrId, ticket }` (or `getTicket(confrId)`, which is asked again when a ticket has run
   * out), `{ confrId, password }`, or `{ roomName, password, role, config }`; the first two take `nickName` and
   * `ext`. Answers the gateway's answer: `{ confr, member, roleToken, eventsUrl, isCreator? }`.
   */
  async join(target) {
    if (this.state !== 'idle') throw new TidegateError('invalid_request', 'a Conference is for one call; make a new one');
    this._admission = new Admission(this._api, this._tokens, this._platform.client, target || {});
    this._become('joining');
    try {
      const joined = await this._admission.enter();
      await this._stayWanted(joined);
      this._settleIn(joined);
      this._listen();
      return joined;
    } catch (error) {
      if (this.state === 'joining') this._become('idle');
      throw error;
    }
  }

  /** Goes out, also while a join is under way, which then fails as `aborted`. Tells `left` with reason 0. */
  async leave() {
    if (this.state === 'left' || this.state === 'idle') return;
    const stay = this._stay;
    this._leave({ reason: ExitReason.NORMAL });
    if (!stay) return;
    // Not inside is what was wanted.
    await this._api.leave(stay.confrId, stay.token).catch((error) => {
      if (error.isPassing) throw error;
    });
  }

  /**
   * Declares the own stream; the answer holds the URL for a live-pusher. `wanted`: `rtcId` (the name of the stream
   * among the own ones), `video` and `audio` (false: off from the start), `type`. Asked again with the same `rtcId`,
   * the same publication gets a fresh URL.
   */
  publish(wanted) {
    return this._shelf.publish(wanted || {});
  }

  /**
   * Asks to watch a stream; the answer holds the URLs. `options.profile`: `rtc` (the newest picture, the default) or
   * `live` (every picture).
   */
  subscribe(streamId, options) {
    return this._shelf.subscribe(streamId, (options && options.profile) || 'rtc');
  }

  /** For ADMINs: removes users by name. */
  kick(memberNames) {
    return this._asMember((confrId, token) => this._api.kick(confrId, token, memberNames));
  }

  /** For ADMINs: 7, 3 or 1. */
  setRole(memberNames, role) {
    return this._asMember((confrId, token) => this._api.setRole(confrId, token, memberNames, role));
  }

  /** For ADMINs: holds `{ audio, video }` of members back, or gives it back. */
  mute(memberNames, what) {
    return this._asMember((confrId, token) => this._api.mute(confrId, token, memberNames, what));
  }

  /** For ADMINs: ends it for everybody. */
  end() {
    return this._asMember((confrId, token) => this._api.endConference(confrId, token));
  }

  /** For ADMINs: `{ password?, limits?, memDefaultRole?, metadata? }`. */
  change(change) {
    return this._asMember((confrId, token) => this._api.changeConference(confrId, token, change));
  }

  /** For ADMINs: a ticket for `{ user?, role? }`. The only way back in for who was kicked. */
  issueTicket(wanted) {
    return this._asMember((confrId, token) => this._api.issueTicket(confrId, token, wanted || {}));
  }

  /** Changes the own `{ nickName?, ext? }`. */
  update(change) {
    return this._asMember((confrId, token) => this._api.changeMember(confrId, token, change));
  }

  /** Says something to everybody, or to the members `options.to`: up to 4 KiB of JSON, five a second. */
  send(body, options) {
    const message = Object.assign({ body }, options && options.to ? { to: options.to } : {});
    return this._asMember((confrId, token) => this._api.sendMessage(confrId, token, message));
  }

  /** Figures of a stream, as the gateway sees it. */
  stats(streamId) {
    return this._asMember((confrId, token) => this._api.streamStats(confrId, token, streamId));
  }

  /**
   * Tries everything again that waits: for pages that know that the network or the page is back when the platform
   * does not tell.
   */
  wake() {
    this._restartGiveUp();
    if (this._stay) this._stay.nudge();
    this._shelf.resume();
  }

  /** Runs `call(confrId, token)` for the own member. What it says of the stay is checked with the feed at once. */
  async _asMember(call) {
    if (this.state !== 'joined' && this.state !== 'reconnecting') {
      throw new TidegateError('not_joined', `this needs a member inside, and the call is ${this.state}`);
    }
    const stay = this._stay;
    try {
      return await call(stay.confrId, stay.token);
    } catch (error) {
      if (stay === this._stay && this.state !== 'left') stay.doubt(error);
      throw error;
    }
  }

  /** Whoever left while it was joining does not stay inside. */
  async _stayWanted(joined) {
    if (this.state !== 'left') return;
    await this._api.leave(joined.confr.confrId, joined.roleToken).catch(() => {});
    throw new TidegateError('aborted', 'left while joining');
  }

  _settleIn(joined) {
    const changes = this._roster.join(joined);
    const stay = new Stay(this._platform, this._api, joined, {
      frame: (frame) => stay === this._stay && this._tell(this._roster.apply(frame)),
      socket: (isOpen) => stay === this._stay && this._socketIs(isOpen),
      end: (end) => stay === this._stay && this._ended(end),
    });
    this._stay = stay;
    this._stopGiveUp();
    this._become('joined');
    stay.begin();
    return changes;
  }

  _listen() {
    const { onShow, onHide, onNetwork, onInterruptionEnd, now } = this._platform;
    this._offs = [
      // Timers stand still in the background, and the one that gives up would be the first to go off afterwards.
      onHide(() => {
        this._hiddenAt = now();
        this._stopGiveUp();
      }),
      onShow(() => {
        const isCut = this._hiddenAt === null || now() - this._hiddenAt >= HIDDEN_MS;
        this._hiddenAt = null;
        if (isCut) this.wake();
        else this._shelf.resume();
        this._restartGiveUp();
      }),
      onNetwork((isOnline) => isOnline && this.wake()),
      onInterruptionEnd(() => this._shelf.resume()),
    ];
  }

  _socketIs(isOpen) {
    if (isOpen) {
      this._stopGiveUp();
      this._become('joined');
    } else if (this.state === 'joined') {
      this._become('reconnecting');
      this._restartGiveUp();
    }
  }

  _tell(changes) {
    for (const change of changes) {
      if (this.state === 'left') return;
      this._shelf.notice(change);
      this.emit(change.type, change);
    }
  }

  /** The gateway says that the stay is over. Who was only silent for too long comes back. */
  _ended({ reason, failed }) {
    if (reason === ExitReason.NO_ANSWER || reason === ExitReason.FAILED) this._rejoin({ reason, failed });
    else this._leave({ reason, failed });
  }

  async _rejoin(end) {
    this._become('rejoining');
    this._restartGiveUp();
    const backoff = new Backoff(this._platform.random);
    for (;;) {
      try {
        const joined = await this._admission.enter();
        await this._stayWanted(joined);
        return this._rejoined(joined);
      } catch (error) {
        if (this.state !== 'rejoining') return undefined;
        if (!error.isPassing) return this._leave(this._refusedEnd(error, end));
      }
      await new Promise((resolve) => this._platform.setTimer(resolve, backoff.next()));
      if (this.state !== 'rejoining') return undefined;
    }
  }

  _rejoined(joined) {
    const changes = this._settleIn(joined);
    this._shelf.rejoin();
    this.emit('rejoined', { member: joined.member });
    this._tell(changes);
  }

  /** Why somebody who may not come back is out. */
  _refusedEnd(error, end) {
    if (error.reason === 'conference_closed' || error.reason === 'conference_not_found') return { reason: ExitReason.CLOSED };
    if (error.reason === 'not_joined') return end;
    if (error.reason === 'member_gone') return { reason: ExitReason.KICKED, failed: error.code };
    return { reason: ExitReason.FAILED, failed: error.code };
  }

  _leave({ reason, failed }) {
    if (this._stay) this._stay.close();
    this._stopGiveUp();
    for (const off of this._offs.splice(0)) off();
    this._shelf.close();
    this._become('left');
    this.emit('left', { reason, failed: failed === undefined ? null : failed });
    this.finish();
  }

  _restartGiveUp() {
    this._stopGiveUp();
    if (this._hiddenAt !== null || (this.state !== 'reconnecting' && this.state !== 'rejoining')) return;
    const { code } = new TidegateError('network');
    this._giveUp = this._platform.setTimer(() => this._leave({ reason: ExitReason.FAILED, failed: code }), this._giveUpMs);
  }

  _stopGiveUp() {
    this._platform.clearTimer(this._giveUp);
    this._giveUp = null;
  }

  _become(state) {
    if (this.state === state || this.state === 'left') return;
    this.state = state;
    this.emit('stateChanged', { state });
  }
}

module.exports = { Conference };
