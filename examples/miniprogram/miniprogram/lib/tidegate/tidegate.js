// Tidegate client. Apache-2.0. Made from sdk/js/src by sdk/js/tools/bundle.js: change it there.
'use strict';

const sources = {};
const loaded = {};

function load(id) {
  if (!loaded[id]) {
    const module = { exports: {} };
    loaded[id] = module;
    sources[id](module, load);
  }
  return loaded[id].exports;
}

sources['index.js'] = function (module, load) {
const { Conference } = load('conference.js');
const { ConfrType, ExitReason, Role, StreamType } = load('constants.js');
const { createEmedia } = load('emedia/index.js');
const { TidegateError } = load('errors.js');
const { defaultPlatform, webPlatform, wxPlatform } = load('platform/index.js');
const { Voip, VoIPErrCode } = load('voip/index.js');

/** The `emedia` of the app. */
const emedia = createEmedia();

module.exports = {
  Conference,
  ConfrType,
  ExitReason,
  Role,
  StreamType,
  TidegateError,
  Voip,
  VoIPErrCode,
  createEmedia,
  defaultPlatform,
  emedia,
  webPlatform,
  wxPlatform,
};
};

sources['conference.js'] = function (module, load) {
const { Api } = load('api.js');
const { Admission, UserTokens } = load('admission.js');
const { Backoff } = load('backoff.js');
const { ExitReason } = load('constants.js');
const { Emitter } = load('emitter.js');
const { TidegateError } = load('errors.js');
const { MediaShelf } = load('media/shelf.js');
const { defaultPlatform } = load('platform/index.js');
const { Requests } = load('requests.js');
const { Roster } = load('roster.js');
const { Stay } = load('stay.js');

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
};

sources['api.js'] = function (module, load) {
const part = encodeURIComponent;

/**
 * The calls of the control API that clients make, by their names in the OpenAPI document. Each answers what the
 * gateway answered.
 */
class Api {
  constructor(requests) {
    this._requests = requests;
  }

  _post(path, token, body, how) {
    return this._requests.send(Object.assign({ method: 'POST', path, token, body }, how));
  }

  createConference(token, settings) {
    return this._post('/v1/conferences', token, settings, { creates: true });
  }

  issueTicket(confrId, token, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/tickets`, token, wanted, { creates: true });
  }

  join(confrId, token, body) {
    return this._post(`/v1/conferences/${part(confrId)}/members`, token, body, { creates: true });
  }

  joinRoom(roomName, token, body) {
    return this._post(`/v1/rooms/${part(roomName)}/members`, token, body, { creates: true });
  }

  /** Not repeated: the signature was used up by the first attempt that arrived. */
  joinVoipRoom(groupId, token, body) {
    return this._post(`/v1/voip/rooms/${part(groupId)}/members`, token, body, { once: true });
  }

  leave(confrId, token) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}/members/me`, token });
  }

  changeMember(confrId, token, change) {
    return this._requests.send({ method: 'PATCH', path: `/v1/conferences/${part(confrId)}/members/me`, token, body: change });
  }

  /** Not repeated: the next one comes soon. */
  heartbeat(confrId, token) {
    return this._post(`/v1/conferences/${part(confrId)}/heartbeat`, token, undefined, { once: true });
  }

  changeConference(confrId, token, change) {
    return this._requests.send({ method: 'PATCH', path: `/v1/conferences/${part(confrId)}`, token, body: change });
  }

  endConference(confrId, token) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}`, token });
  }

  kick(confrId, token, memberNames) {
    return this._post(`/v1/conferences/${part(confrId)}/kick`, token, { memberNames });
  }

  setRole(confrId, token, memberNames, role) {
    return this._post(`/v1/conferences/${part(confrId)}/roles`, token, { memberNames, role });
  }

  mute(confrId, token, memberNames, what) {
    return this._post(`/v1/conferences/${part(confrId)}/mute`, token, Object.assign({ memberNames }, what));
  }

  publish(confrId, token, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/streams`, token, wanted, { creates: true });
  }

  changeStream(confrId, token, streamId, change) {
    const path = `/v1/conferences/${part(confrId)}/streams/${part(streamId)}`;
    return this._requests.send({ method: 'PATCH', path, token, body: change });
  }

  deleteStream(confrId, token, streamId) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}/streams/${part(streamId)}`, token });
  }

  subscribe(confrId, token, streamId, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/streams/${part(streamId)}/subscriptions`, token, wanted);
  }

  streamStats(confrId, token, streamId) {
    return this._requests.send({ method: 'GET', path: `/v1/conferences/${part(confrId)}/streams/${part(streamId)}/stats`, token });
  }

  sendMessage(confrId, token, message) {
    return this._post(`/v1/conferences/${part(confrId)}/messages`, token, message, { creates: true });
  }
}

module.exports = { Api };
};

sources['admission.js'] = function (module, load) {
const { TidegateError } = load('errors.js');

/** Tokens of the app's user: given once, or asked of the app each time the gateway no longer takes the last one. */
class UserTokens {
  constructor({ token, getToken }) {
    this._token = token || null;
    this._getToken = getToken || null;
  }

  get exist() {
    return this._token !== null || this._getToken !== null;
  }

  /** Runs `call(token)`; once more with a fresh token where the gateway refuses the first. */
  async use(call) {
    if (!this.exist) {
      throw new TidegateError('invalid_request', 'token or getToken: who the user is, signed by the backend of the app');
    }
    const had = this._token !== null;
    try {
      return await call(await this._current());
    } catch (error) {
      if (error.reason !== 'unauthenticated' || !had || !this._getToken) throw error;
      this._token = null;
      return call(await this._current());
    }
  }

  async _current() {
    if (this._token === null) {
      const token = await this._getToken();
      if (typeof token !== 'string' || token === '') {
        throw new TidegateError('invalid_request', 'getToken: it answers the user token as text');
      }
      this._token = token;
    }
    return this._token;
  }
}

/**
 * The way into one conference: used for the join and for each rejoin after the gateway has given a member up.
 *
 * `target` is one of `{ confrId, ticket | getTicket }`, `{ confrId, password }`, `{ roomName, password?, role?,
 * config? }` and `{ groupId, roomType, muteConfig?, signature, nonceStr, timeStamp }` or, for rejoins, `getSignature`
 * in place of the last three; the first two take `nickName` and `ext`.
 */
class Admission {
  constructor(api, tokens, client, target) {
    this._api = api;
    this._tokens = tokens;
    this._client = client;
    this._target = target;
    this._ticket = target.ticket || null;
    this._signature = target.signature ? target : null;
    this._enter = this._way();
  }

  /** Joins; the gateway's answer. */
  enter() {
    return this._enter();
  }

  _way() {
    const { confrId, roomName, groupId, ticket, getTicket } = this._target;
    if (groupId) return () => this._byGroup();
    if (roomName) return () => this._byRoom();
    if (confrId && (ticket || getTicket)) return () => this._byTicket();
    if (confrId) return () => this._byPassword();
    throw new TidegateError('invalid_request', 'where to? name a confrId, a roomName or a groupId');
  }

  _byPassword() {
    const { confrId, password } = this._target;
    const body = Object.assign({ password: password || '' }, this._self());
    return this._tokens.use((token) => this._api.join(confrId, token, body));
  }

  async _byTicket() {
    const { getTicket, confrId } = this._target;
    try {
      if (this._ticket === null) this._ticket = await getTicket(confrId);
      return await this._showTicket();
    } catch (error) {
      if ((error.reason !== 'ticket_expired' && error.reason !== 'ticket_invalid') || !getTicket) throw error;
      this._ticket = await getTicket(confrId);
      return this._showTicket();
    }
  }

  /** The user token beside it gives a ticket that names nobody its user. */
  async _showTicket() {
    const { confrId } = this._target;
    const ticket = this._ticket;
    if (this._tokens.exist) {
      try {
        return await this._tokens.use((token) => this._api.join(confrId, token, Object.assign({ ticket }, this._self())));
      } catch (error) {
        // The ticket is enough, whatever became of the user token.
        if (error.reason !== 'unauthenticated') throw error;
      }
    }
    return this._api.join(confrId, ticket, this._self());
  }

  _byRoom() {
    const { roomName, password, role, config } = this._target;
    const body = Object.assign({ client: this._client, config: config || {} }, password ? { password } : {}, role ? { role } : {});
    return this._tokens.use((token) => this._api.joinRoom(roomName, token, body));
  }

  async _byGroup() {
    const { groupId, roomType, muteConfig, getSignature } = this._target;
    const signed = this._signature || (getSignature ? await getSignature(groupId) : null);
    this._signature = null;
    if (!signed) throw new TidegateError('not_joined', 'a signature is good for one join; name getSignature to come back by itself');
    const { signature, nonceStr, timeStamp } = signed;
    const body = Object.assign({ signature, nonceStr, timeStamp, roomType: roomType || 'voice' }, muteConfig ? { muteConfig } : {});
    return this._tokens.use((token) => this._api.joinVoipRoom(groupId, token, body));
  }

  _self() {
    const { nickName, ext } = this._target;
    return Object.assign({ client: this._client }, nickName ? { nickName } : {}, ext ? { ext } : {});
  }
}

module.exports = { Admission, UserTokens };
};

sources['errors.js'] = function (module, load) {
/** The codes of faults that no gateway answered, as emedia clients know them. */
const CLIENT_CODES = {
  network: -9527,
  timeout: -408,
  aborted: -409,
  not_joined: -504,
  invalid_request: -200,
  invalid_answer: -500,
};

/**
 * A "no", from the gateway or from the way to it.
 *
 * `reason` is a stable word to decide by: the gateway's (`wrong_password`, `member_gone`, …), or one of the SDK:
 * `network`, `timeout`, `aborted` (left while it was under way), `not_joined`, `invalid_request`, `invalid_answer`.
 * `code` is the number that emedia clients know, `status` the HTTP status or 0, `message` a sentence for people.
 */
class TidegateError extends Error {
  constructor(reason, message, details) {
    super(message);
    const known = details || {};
    this.name = 'TidegateError';
    this.reason = reason;
    this.code = known.code === undefined ? CLIENT_CODES[reason] : known.code;
    this.status = known.status || 0;
    /** How long the gateway wants to be left alone; null where it did not say. */
    this.retryAfterMs = known.retryAfterMs === undefined ? null : known.retryAfterMs;
    /** Names the request in the gateway's log. */
    this.requestId = known.requestId || null;
  }

  /** Whether the same again, later, may work. */
  get isPassing() {
    return this.status === 429 || this.status === 503 || this.reason === 'network' || this.reason === 'timeout';
  }
}

/** The error that a refused answer stands for. */
function refusal(answer) {
  const { status, body } = answer;
  const problem = body && typeof body === 'object' ? body : {};
  const seconds = Number(answer.headers['retry-after']);
  return new TidegateError(problem.reason || 'invalid_answer', problem.detail || `the gateway answered ${status}`, {
    code: typeof problem.code === 'number' ? problem.code : undefined,
    status,
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : null,
    requestId: problem.requestId || answer.headers['x-request-id'],
  });
}

module.exports = { TidegateError, refusal };
};

sources['backoff.js'] = function (module, load) {
/** The first wait: a cut is often over at once. */
const FIRST_MS = 300;
/** The longest wait. Fifteen seconds: a person looks at a frozen picture no longer, and the gateway is not hammered. */
const LONGEST_MS = 15000;

/**
 * Waits that double up to a cap. Each is drawn between half and all of its bound, so that phones that were cut
 * together do not come back together.
 */
class Backoff {
  constructor(random, bounds) {
    this._random = random;
    this._first = (bounds && bounds.firstMs) || FIRST_MS;
    this._longest = (bounds && bounds.longestMs) || LONGEST_MS;
    this.attempts = 0;
  }

  next() {
    const bound = Math.min(this._longest, this._first * Math.pow(2, Math.min(this.attempts, 16)));
    this.attempts += 1;
    return Math.round(bound / 2 + (bound / 2) * this._random());
  }

  reset() {
    this.attempts = 0;
  }
}

module.exports = { Backoff };
};

sources['constants.js'] = function (module, load) {
/** Kinds of conferences: presets of limits and of the role that a password admits to. */
const ConfrType = Object.freeze({ COMMUNICATION: 10, COMMUNICATION_MIX: 11, LIVE: 12 });

/** ADMIN runs the conference, TALKER publishes, AUDIENCE watches. */
const Role = Object.freeze({ ADMIN: 7, TALKER: 3, AUDIENCE: 1 });

/** Why a stay is over, as `left` and emedia's `onConferenceExit` tell it. */
const ExitReason = Object.freeze({
  NORMAL: 0,
  NO_ANSWER: 1,
  FAILED: 4,
  OTHER_DEVICE: 10,
  CLOSED: 11,
  KICKED: 12,
});

/** What a stream shows. */
const StreamType = Object.freeze({ CAMERA: 0, DESKTOP: 1 });

module.exports = { ConfrType, Role, ExitReason, StreamType };
};

sources['emitter.js'] = function (module, load) {
const { TidegateError } = load('errors.js');

/**
 * Events that an iterator may be behind. A loop that long asleep has lost touch; it is told so instead of filling
 * memory.
 */
const ITERATOR_BACKLOG_MAX = 1024;

/**
 * Named events to handlers, and to `for await` loops.
 *
 * A handler that throws does not keep an event from the others: its error is thrown again from a timer, where the
 * app's global error handler sees it.
 */
class Emitter {
  constructor() {
    this._handlers = new Map();
    this._iterators = new Set();
    this._isFinished = false;
  }

  /** Calls `handler` for each event of that name; the answer takes it back. */
  on(name, handler) {
    if (typeof handler !== 'function') throw new TypeError('a handler is a function');
    const handlers = this._handlers.get(name) || [];
    this._handlers.set(name, handlers.concat(handler));
    return () => this.off(name, handler);
  }

  /** The same for one event. */
  once(name, handler) {
    const off = this.on(name, (event) => {
      off();
      handler(event);
    });
    return off;
  }

  /** Without `handler`: all of that name. */
  off(name, handler) {
    const handlers = this._handlers.get(name) || [];
    this._handlers.set(name, handler ? handlers.filter((known) => known !== handler) : []);
  }

  /**
   * The events from now on, each `{ type, … }`, until there are no more. Leaving the loop takes it back. One that is
   * more than a thousand events behind ends with an error.
   */
  events() {
    const iterator = new EventIterator(() => this._iterators.delete(iterator));
    if (this._isFinished) iterator.finish();
    else this._iterators.add(iterator);
    return iterator;
  }

  emit(name, event) {
    for (const handler of this._handlers.get(name) || []) call(handler, event);
    const told = Object.assign({ type: name }, event);
    for (const iterator of Array.from(this._iterators)) iterator.push(told);
  }

  /** Nothing follows: iterators end. */
  finish() {
    this._isFinished = true;
    for (const iterator of Array.from(this._iterators)) iterator.finish();
    this._iterators.clear();
  }
}

/** Runs a handler of the app; what it throws goes to the app's global error handler. */
function call(handler, ...values) {
  try {
    handler(...values);
  } catch (error) {
    setTimeout(() => {
      throw error;
    }, 0);
  }
}

class EventIterator {
  constructor(onReturn) {
    this._backlog = [];
    this._waiting = [];
    this._end = null;
    this._onReturn = onReturn;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (this._backlog.length > 0) return Promise.resolve({ value: this._backlog.shift(), done: false });
    if (this._end) return this._end.error ? Promise.reject(this._end.error) : Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this._waiting.push({ resolve, reject }));
  }

  return() {
    this._backlog = [];
    this.finish();
    this._onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  push(event) {
    if (this._end) return;
    const waiting = this._waiting.shift();
    if (waiting) {
      waiting.resolve({ value: event, done: false });
    } else if (this._backlog.length < ITERATOR_BACKLOG_MAX) {
      this._backlog.push(event);
    } else {
      this._end = { error: new TidegateError('invalid_request', 'this loop fell too far behind the events; begin a new one') };
      this._onReturn();
    }
  }

  finish() {
    if (this._end) return;
    this._end = { error: null };
    for (const waiting of this._waiting.splice(0)) waiting.resolve({ value: undefined, done: true });
  }
}

module.exports = { Emitter, call };
};

sources['media/shelf.js'] = function (module, load) {
const { Role } = load('constants.js');
const { TidegateError } = load('errors.js');
const { Publication } = load('media/publication.js');
const { Subscription } = load('media/subscription.js');

/** The publications and subscriptions of a call, kept in step with what the feed tells of their streams. */
class MediaShelf {
  constructor(conference) {
    this._conference = conference;
    this._platform = conference._platform;
    this._api = conference._api;
    this._asked = new Map();
    this.publications = new Map();
    this.subscriptions = new Map();
  }

  publish(wanted) {
    const rtcId = wanted.rtcId || 'camera';
    return this._once(`publish ${rtcId}`, () => this._publish(rtcId, wanted));
  }

  subscribe(streamId, profile) {
    return this._once(`subscribe ${streamId}`, () => this._subscribe(streamId, profile));
  }

  /** What is asked for again before the answer came is the same. */
  _once(what, ask) {
    if (!this._asked.has(what)) {
      const forget = () => this._asked.delete(what);
      const asked = ask();
      this._asked.set(what, asked);
      asked.then(forget, forget);
    }
    return this._asked.get(what);
  }

  /** What comes when the call is over is of no use to anybody. */
  _checkInside() {
    if (this._conference.state === 'left') throw new TidegateError('aborted', 'the call was left meanwhile');
  }

  async _publish(rtcId, wanted) {
    const known = this.publications.get(rtcId);
    if (known) {
      known._replace(await known._declare());
      return known;
    }
    const meant = { video: wanted.video !== false, audio: wanted.audio !== false };
    const declare = ({ video, audio }) =>
      this._asMember((confrId, token) => {
        const body = { rtcId, voff: video ? 0 : 1, aoff: audio ? 0 : 1 };
        if (wanted.type) body.type = wanted.type;
        return this._api.publish(confrId, token, body);
      });
    const answer = await declare(meant);
    this._checkInside();
    const link = {
      declare,
      change: (streamId, flags) => this._asMember((confrId, token) => this._api.changeStream(confrId, token, streamId, flags)),
      remove: (publication) => this._remove(publication),
    };
    const publication = new Publication(this._platform, link, answer, meant);
    this.publications.set(rtcId, publication);
    return publication;
  }

  async _subscribe(streamId, profile) {
    const known = this.subscriptions.get(streamId);
    if (known) {
      known._replace(await known._subscribe());
      return known;
    }
    const subscribe = (id, wanted) =>
      this._asMember((confrId, token) => this._api.subscribe(confrId, token, id, { profile: wanted }));
    const answer = await subscribe(streamId, profile);
    this._checkInside();
    const link = { subscribe, close: (subscription) => this._drop(subscription) };
    const subscription = new Subscription(this._platform, link, answer, profile);
    this.subscriptions.set(streamId, subscription);
    return subscription;
  }

  /** What changed in the conference, before the app is told. */
  notice(change) {
    const stream = change.stream;
    switch (change.type) {
      case 'streamAdded':
        this._seen(stream, { type: 'added' });
        this._own(stream, (publication) => publication._know(stream, null));
        break;
      case 'streamRemoved':
        this._seen(stream, { type: 'removed' });
        // An ADMIN who takes a stream away means it: the live-pusher is not to bring it back.
        if (change.reason === 'deleted') this._own(stream, (publication) => this._end(publication, 'deleted'));
        break;
      case 'mediaChanged':
        this._seen(stream, null);
        this._own(stream, (publication) => publication._know(stream, change.refused));
        break;
      case 'roleChanged':
        if (change.isSelf && change.role < Role.TALKER) {
          for (const publication of Array.from(this.publications.values())) this._end(publication, 'not_allowed');
        }
        break;
      default:
    }
  }

  /** A new stay: all URLs are dead, own streams are to be declared anew. */
  rejoin() {
    for (const publication of this.publications.values()) publication.retry();
    for (const subscription of this.subscriptions.values()) subscription.retry();
  }

  resume() {
    for (const publication of this.publications.values()) publication.resume();
    for (const subscription of this.subscriptions.values()) subscription.resume();
  }

  close() {
    for (const publication of Array.from(this.publications.values())) this._end(publication, 'left');
    for (const subscription of this.subscriptions.values()) subscription._over('left');
    this.subscriptions.clear();
  }

  _asMember(call) {
    return this._conference._asMember(call);
  }

  async _remove(publication) {
    this._forget(publication);
    if (this._conference.state === 'left') return;
    await this._asMember((confrId, token) => this._api.deleteStream(confrId, token, publication.stream.id)).catch((error) => {
      // Not there is what was wanted.
      if (!(error instanceof TidegateError) || error.isPassing) throw error;
    });
  }

  _end(publication, reason) {
    this._forget(publication);
    publication._over(reason);
  }

  _forget(publication) {
    if (this.publications.get(publication.rtcId) === publication) this.publications.delete(publication.rtcId);
  }

  _drop(subscription) {
    if (this.subscriptions.get(subscription.streamId) === subscription) this.subscriptions.delete(subscription.streamId);
  }

  _seen(stream, input) {
    const subscription = this.subscriptions.get(stream.id);
    if (!subscription) return;
    subscription.stream = stream;
    if (input) subscription._input(input);
    else subscription._tell();
  }

  _own(stream, then) {
    const publication = this.publications.get(stream.rtcId);
    if (publication && publication.stream.id === stream.id) then(publication);
  }
}

module.exports = { MediaShelf };
};

sources['media/publication.js'] = function (module, load) {
const { Track } = load('media/track.js');
const { pusher } = load('media/pusher.js');
const { PUSHER, PUSHER_ERROR, codeOf } = load('media/codes.js');

/**
 * The own stream, for a live-pusher: `url` is its address, `stream` what the gateway knows of it, `video` and `audio`
 * whether they are meant to be seen and heard.
 *
 * `state.name`: `starting`, `live`, `reconnecting`, `refreshing` (waits for a new URL), `suspended` (background,
 * phone call), `failed` (`part`: `camera`, `microphone`, `encoder`; or `reason`: why the gateway refused; `retry()`
 * tries again) and `stopped`.
 */
class Publication extends Track {
  /** `link`: `{ declare(): Promise<answer>, change(streamId, flags): Promise<stream>, remove(streamId): Promise }`. */
  constructor(platform, link, answer, wanted) {
    super(platform, {
      step: pusher,
      words: PUSHER,
      ask: () => this._declare(),
      url: answer.data.rtmp,
      state: { name: 'starting' },
    });
    this._link = link;
    this._take(answer);
    this.rtcId = answer.stream.rtcId;
    /** Whether pictures are meant to be sent: what `enable-camera` is bound to. */
    this.video = wanted.video;
    /** Whether sound is meant to be sent: what `enable-mic` is bound to. */
    this.audio = wanted.audio;
    /** `videos_full` while the pictures are sent and held back, since no place for video is free. */
    this.refused = null;
  }

  /** What `binderror` of the live-pusher gave: the user refused the camera or the microphone. */
  handleError(event) {
    this._input({ type: 'code', word: PUSHER_ERROR[codeOf(event)] });
  }

  /**
   * Turns pictures or sound off and on, for everybody: `{ video?, audio? }`. Takes effect here at once (`video`,
   * `audio`, event `change`); refused, as by `videos_full`, it is taken back. Answers whether the gateway was told:
   * `wx.request` has no PATCH, and a gateway that takes no POST in its stead leaves it at what the own component
   * does.
   */
  async setMedia(wanted) {
    const before = { video: this.video, audio: this.audio };
    this._mean(Object.assign({}, before, wanted));
    const flags = {};
    if (wanted.video !== undefined) flags.voff = wanted.video ? 0 : 1;
    if (wanted.audio !== undefined) flags.aoff = wanted.audio ? 0 : 1;
    try {
      this.stream = await this._link.change(this.stream.id, flags);
      return true;
    } catch (error) {
      // While the call is joining again there is nobody to tell: the stream is declared anew as it is meant.
      if (error.status === 405 || error.reason === 'not_joined') return false;
      this._mean(before);
      throw error;
    }
  }

  /** Stops, and takes the stream back. */
  async stop() {
    this._over('stopped');
    await this._link.remove(this);
  }

  async _declare() {
    const answer = await this._link.declare(this);
    this._take(answer);
    return answer.data.rtmp;
  }

  _take(answer) {
    this.stream = answer.stream;
    /** The URLs as the gateway gave them: `rtmp`, and for OBS `rtmpServer` and `rtmpKey`. */
    this.data = answer.data;
    this.expiresAt = answer.expiresAt;
  }

  /** What the gateway tells of the stream. */
  _know(stream, refused) {
    this.stream = stream;
    this.refused = refused || null;
    this._tell();
  }

  _mean({ video, audio }) {
    this.video = video;
    this.audio = audio;
    this._tell();
  }

  _refused(error) {
    // A demotion is told by the feed as well; whoever comes first ends it.
    if (error.reason === 'not_allowed') this._over(error.reason);
    else super._refused(error);
  }
}

module.exports = { Publication };
};

sources['media/track.js'] = function (module, load) {
const { Backoff } = load('backoff.js');
const { Emitter, call } = load('emitter.js');
const { codeOf } = load('media/codes.js');

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
};

sources['media/codes.js'] = function (module, load) {
/**
 * What the codes of `bindstatechange`, `bindnetstatus` and `binderror` mean, as far as the SDK acts on them. WeChat's
 * numbers differ a little between its versions, so that a code which is not here changes nothing: whether a right has
 * ended is told by the gateway, never guessed from a code.
 *
 * Each is a word for the state machines of `pusher.js` and `player.js`: `connected`, `flowing`, `weak`, `retrying`
 * (the component tries again by itself), `refused` (the far end closed: bad, expired or taken URL), `lost` (the
 * component has given up), `ended`, `suspended` (WeChat took it away: background, a phone call), and `broken:<part>`
 * (the device; trying again does not help).
 */
const NETWORK = {
  3001: 'retrying',
  3002: 'retrying',
  3003: 'retrying',
  3004: 'refused',
  3005: 'retrying',
};

const PUSHER = Object.assign({}, NETWORK, {
  1001: 'connected',
  1002: 'flowing',
  1101: 'weak',
  1102: 'retrying',
  '-1301': 'broken:camera',
  '-1302': 'broken:microphone',
  '-1303': 'broken:encoder',
  '-1304': 'broken:encoder',
  '-1305': 'broken:encoder',
  '-1306': 'broken:encoder',
  '-1307': 'lost',
  5000: 'suspended',
  5001: 'suspended',
});

/** `binderror` of live-pusher. */
const PUSHER_ERROR = { 10001: 'broken:camera', 10002: 'broken:microphone' };

const PLAYER = Object.assign({}, NETWORK, {
  2001: 'connected',
  2002: 'connected',
  2003: 'flowing',
  2004: 'flowing',
  2006: 'ended',
  2007: 'loading',
  2103: 'retrying',
  2104: 'weak',
  2105: 'weak',
  '-2301': 'lost',
  '-2302': 'refused',
  5000: 'suspended',
  6000: 'suspended',
});

/** The code in an event of the component, or the code itself. */
function codeOf(event) {
  if (typeof event === 'number' || typeof event === 'string') return Number(event);
  const detail = (event && event.detail) || event || {};
  return Number(detail.code === undefined ? detail.errCode : detail.code);
}

module.exports = { PUSHER, PUSHER_ERROR, PLAYER, codeOf };
};

sources['media/pusher.js'] = function (module, load) {
/**
 * What becomes of a live-pusher: a state and an input give the next state and what is to be done. Pure;
 * `publication.js` does it.
 *
 * ```text
 * starting ──flowing──► live ◄──────────────┐
 *    │  ▲                │ retrying         │ flowing
 *    │  └── url ──┐      ▼                  │
 *    │            │   reconnecting ─────────┘
 *    │ refused, lost      │ refused, lost
 *    └───────────►refreshing◄┘            (a new URL is asked for, after a wait)
 *
 * any ──suspended──► suspended ──resumed──► starting
 * any ──broken─────► failed    ──retry────► refreshing
 * any ──over───────► stopped                (left, kicked, no longer a TALKER, ended: never again)
 * ```
 *
 * States are `{ name, part?, reason? }`; what is to be done is `start`, `stop`, `refresh` or null.
 */
const START = { name: 'starting' };

function pusher(state, input) {
  if (state.name === 'stopped') return { state, act: null };
  switch (input.type) {
    case 'over':
      return { state: { name: 'stopped', reason: input.reason || null }, act: 'stop' };
    case 'url':
      return { state: START, act: 'start' };
    case 'refuse':
      return { state: { name: 'failed', part: null, reason: input.reason }, act: 'stop' };
    case 'retry':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    case 'resumed':
      return state.name === 'suspended' ? { state: START, act: 'start' } : { state, act: null };
    case 'code':
      return coded(state, input.word);
    default:
      return { state, act: null };
  }
}

function coded(state, word) {
  const broken = /^broken:(.*)$/.exec(word || '');
  // Until there is a new URL, or the user has acted, the component only tells of what is known.
  const isWaiting = state.name === 'refreshing' || state.name === 'failed';
  if (broken) return { state: { name: 'failed', part: broken[1], reason: 'device' }, act: state.name === 'failed' ? null : 'stop' };
  if (word === 'suspended') return { state: { name: 'suspended' }, act: null };
  if (isWaiting || (state.name === 'suspended' && word !== 'flowing')) return { state, act: null };
  switch (word) {
    case 'flowing':
      return { state: { name: 'live' }, act: null };
    case 'retrying':
      return { state: { name: 'reconnecting' }, act: null };
    case 'refused':
    case 'lost':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    default:
      return { state, act: null };
  }
}

module.exports = { pusher };
};

sources['media/subscription.js'] = function (module, load) {
const { Track } = load('media/track.js');
const { player } = load('media/player.js');
const { PLAYER } = load('media/codes.js');

/**
 * A stream of somebody else, for a live-player: `url` is its RTMP address, `data.flv` and `data.wsFlv` the same for
 * browsers.
 *
 * `state.name`: `loading`, `playing`, `reconnecting`, `refreshing` (waits for a new URL), `waiting` (nobody publishes
 * it now), `suspended`, `failed` and `stopped`.
 */
class Subscription extends Track {
  /** `link`: `{ subscribe(streamId, profile): Promise<answer>, close(subscription) }`. */
  constructor(platform, link, answer, profile) {
    super(platform, {
      step: player,
      words: PLAYER,
      ask: () => this._subscribe(),
      url: answer.data.rtmp,
      state: { name: 'loading' },
    });
    this._link = link;
    this._profile = profile;
    this._take(answer);
  }

  get streamId() {
    return this.stream.id;
  }

  /** Stops watching. */
  close() {
    this._over('closed');
    this._link.close(this);
  }

  async _subscribe() {
    const answer = await this._link.subscribe(this.stream.id, this._profile);
    this._take(answer);
    return answer.data.rtmp;
  }

  _take(answer) {
    this.stream = answer.stream;
    /** The URLs as the gateway gave them: `rtmp`, `flv`, `wsFlv`. */
    this.data = answer.data;
    this.expiresAt = answer.expiresAt;
  }

  _refused(error) {
    // It may be declared again, under the same name.
    if (error.reason === 'stream_not_found') this._input({ type: 'removed' });
    else super._refused(error);
  }
}

module.exports = { Subscription };
};

sources['media/player.js'] = function (module, load) {
/**
 * What becomes of a live-player: a state and an input give the next state and what is to be done. Pure;
 * `subscription.js` does it.
 *
 * ```text
 * loading ──flowing──► playing ◄────────────┐
 *    │  ▲                │ retrying         │ flowing
 *    │  └── url ──┐      ▼                  │
 *    │            │   reconnecting ─────────┘
 *    │ refused, lost, ended   │
 *    └───────────►refreshing◄─┘           (a new URL is asked for, after a wait)
 *
 * any ──removed────► waiting   ──added────► refreshing    (nobody publishes it now)
 * any ──suspended──► suspended ──resumed──► loading
 * any ──over───────► stopped                              (closed, or the stay is over: never again)
 * ```
 *
 * What is to be done is `start`, `stop`, `refresh` or null.
 */
const LOAD = { name: 'loading' };

function player(state, input) {
  if (state.name === 'stopped') return { state, act: null };
  switch (input.type) {
    case 'over':
      return { state: { name: 'stopped', reason: input.reason || null }, act: 'stop' };
    case 'url':
      return { state: LOAD, act: 'start' };
    case 'removed':
      return { state: { name: 'waiting' }, act: state.name === 'waiting' ? null : 'stop' };
    case 'added':
      return state.name === 'waiting' ? { state: { name: 'refreshing' }, act: 'refresh' } : { state, act: null };
    case 'refuse':
      return { state: { name: 'failed', reason: input.reason }, act: 'stop' };
    case 'retry':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    case 'resumed':
      return state.name === 'suspended' ? { state: LOAD, act: 'start' } : { state, act: null };
    case 'code':
      return coded(state, input.word);
    default:
      return { state, act: null };
  }
}

function coded(state, word) {
  // Until there is a new URL the component only tells of what is known.
  if (['refreshing', 'waiting', 'failed'].includes(state.name)) return { state, act: null };
  if (state.name === 'suspended' && word !== 'flowing') return { state, act: null };
  switch (word) {
    case 'flowing':
      return { state: { name: 'playing' }, act: null };
    case 'loading':
      return state.name === 'reconnecting' ? { state, act: null } : { state: LOAD, act: null };
    case 'retrying':
      return { state: { name: 'reconnecting' }, act: null };
    case 'suspended':
      return { state: { name: 'suspended' }, act: null };
    case 'refused':
    case 'lost':
    case 'ended':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    default:
      return { state, act: null };
  }
}

module.exports = { player };
};

sources['platform/index.js'] = function (module, load) {
const { wxPlatform } = load('platform/wx.js');
const { webPlatform } = load('platform/web.js');

/* global wx */

let web;

/** WeChat's where there is a `wx`, else the browser's or node's. */
function defaultPlatform() {
  if (typeof wx !== 'undefined' && typeof wx.request === 'function') return wxPlatform(wx);
  web = web || webPlatform();
  return web;
}

module.exports = { defaultPlatform, wxPlatform, webPlatform };
};

sources['platform/wx.js'] = function (module, load) {
const { TidegateError } = load('errors.js');
const { Slots } = load('slots.js');

/** WeChat allows this many requests at once. */
const REQUESTS_MAX = 10;
/** WeChat allows this many sockets at once. */
const SOCKETS_MAX = 5;
/** How long a socket may take to open. */
const SOCKET_TIMEOUT_MS = 10000;

const platforms = new WeakMap();

/**
 * WeChat's `wx`, as the SDK needs it. All that is made for one `wx` share its places for requests and sockets.
 */
function wxPlatform(wx) {
  if (!platforms.has(wx)) platforms.set(wx, make(wx));
  return platforms.get(wx);
}

function make(wx) {
  return {
    name: 'wx',
    /** What the gateway is told at a join. */
    client: 'miniProgram',
    /** `wx.request` has no PATCH. */
    methods: new Set(['GET', 'POST', 'PUT', 'DELETE']),
    requestSlots: new Slots(REQUESTS_MAX),
    socketSlots: new Slots(SOCKETS_MAX),
    now: Date.now,
    random: Math.random,
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    request: (request) => send(wx, request),
    openSocket: (wanted, handlers) => open(wx, wanted, handlers),
    onShow: listener(wx, 'onAppShow', 'offAppShow'),
    onHide: listener(wx, 'onAppHide', 'offAppHide'),
    onNetwork: (heard) => listener(wx, 'onNetworkStatusChange', 'offNetworkStatusChange')((status) => heard(status.isConnected)),
    onInterruptionBegin: listener(wx, 'onAudioInterruptionBegin', 'offAudioInterruptionBegin'),
    onInterruptionEnd: listener(wx, 'onAudioInterruptionEnd', 'offAudioInterruptionEnd'),
  };
}

/** Listens by `wx[on]` where this version of WeChat has it; the answer stops that. */
function listener(wx, on, off) {
  return (heard) => {
    if (typeof wx[on] !== 'function') return () => {};
    wx[on](heard);
    return () => typeof wx[off] === 'function' && wx[off](heard);
  };
}

function send(wx, { url, method, headers, body, timeoutMs }) {
  return new Promise((resolve, reject) => {
    wx.request({
      url,
      method,
      header: headers,
      data: body === undefined ? undefined : JSON.stringify(body),
      timeout: timeoutMs,
      success: ({ statusCode, header, data }) => {
        const lower = {};
        for (const name of Object.keys(header || {})) lower[name.toLowerCase()] = String(header[name]);
        resolve({ status: statusCode, headers: lower, body: data === '' ? null : data });
      },
      fail: ({ errMsg }) => reject(fault(errMsg)),
    });
  });
}

function fault(errMsg) {
  const text = String(errMsg);
  if (/timeout/i.test(text)) return new TidegateError('timeout', `the gateway did not answer in time: ${text}`);
  const hint = /domain list|url not in/i.test(text)
    ? '; add the gateway to the request and socket domains of the mini program'
    : '';
  return new TidegateError('network', `the gateway could not be reached: ${text}${hint}`);
}

function open(wx, { url, token }, handlers) {
  let over = false;
  const close = (code, reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    handlers.close(code, reason);
  };
  const timer = setTimeout(() => {
    close(1006, 'the socket did not open in time');
    task.close({});
  }, SOCKET_TIMEOUT_MS);
  const task = wx.connectSocket({
    url,
    header: { authorization: `Bearer ${token}` },
    timeout: SOCKET_TIMEOUT_MS,
    fail: ({ errMsg }) => close(1006, errMsg),
  });
  task.onOpen(() => {
    clearTimeout(timer);
    if (!over) handlers.open();
  });
  task.onMessage(({ data }) => {
    if (!over) handlers.message(data);
  });
  // A fault is sometimes followed by a close, and sometimes not.
  task.onError(({ errMsg }) => close(1006, errMsg));
  task.onClose(({ code, reason }) => close(code === undefined ? 1006 : code, reason));
  return {
    send: (text) => task.send({ data: text, fail: ({ errMsg }) => close(1006, errMsg) }),
    /** Nothing is told of this socket any more. */
    close: () => {
      over = true;
      clearTimeout(timer);
      task.close({ code: 1000 });
    },
  };
}

module.exports = { wxPlatform };
};

sources['slots.js'] = function (module, load) {
/** Places for what a platform allows a few of at once; whoever finds none waits its turn. */
class Slots {
  constructor(count) {
    this._free = count;
    this._waiting = [];
  }

  /**
   * Calls `enter` with a function that frees the place again: at once, or when one is free. The answer gives up
   * waiting, or frees the place.
   */
  take(enter) {
    const entry = { state: 'waiting', enter };
    const release = () => {
      if (entry.state === 'inside') this._leave();
      entry.state = 'over';
    };
    entry.release = release;
    if (this._free > 0) this._let(entry);
    else this._waiting.push(entry);
    return release;
  }

  _let(entry) {
    this._free -= 1;
    entry.state = 'inside';
    entry.enter(entry.release);
  }

  _leave() {
    this._free += 1;
    for (let next = this._waiting.shift(); next; next = this._waiting.shift()) {
      if (next.state === 'waiting') return this._let(next);
    }
  }
}

module.exports = { Slots };
};

sources['platform/web.js'] = function (module, load) {
const { TidegateError } = load('errors.js');
const { Slots } = load('slots.js');

/** Browsers queue by themselves; this keeps a page from asking for everything at once. */
const REQUESTS_MAX = 10;
const SOCKETS_MAX = 5;
const SOCKET_TIMEOUT_MS = 10000;

/**
 * A browser, or node with a `WebSocket` such as that of the `ws` package.
 *
 * `options`: `{ fetch, WebSocket, window }`, each the global one where absent.
 */
function webPlatform(options) {
  const given = options || {};
  const fetch = given.fetch || globalOf('fetch');
  const WebSocket = given.WebSocket || globalOf('WebSocket');
  const page = given.window || globalOf('window');
  if (!fetch || !WebSocket) {
    const way = 'name them in webPlatform({ fetch, WebSocket })';
    throw new TidegateError('invalid_request', `this platform has no fetch or no WebSocket: ${way}`);
  }
  return {
    name: 'web',
    client: 'web',
    methods: new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
    requestSlots: new Slots(REQUESTS_MAX),
    socketSlots: new Slots(SOCKETS_MAX),
    now: Date.now,
    random: Math.random,
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    request: (request) => send(fetch, request),
    openSocket: (wanted, handlers) => open(WebSocket, wanted, handlers),
    onShow: (heard) => visibility(page, (visible) => visible && heard()),
    onHide: (heard) => visibility(page, (visible) => !visible && heard()),
    onNetwork: (heard) => {
      const offs = [listen(page, 'online', () => heard(true)), listen(page, 'offline', () => heard(false))];
      return () => offs.forEach((off) => off());
    },
    onInterruptionBegin: () => () => {},
    onInterruptionEnd: () => () => {},
  };
}

function globalOf(name) {
  const home = typeof globalThis !== 'undefined' ? globalThis : typeof window !== 'undefined' ? window : {};
  const value = home[name];
  return name === 'fetch' && value ? value.bind(home) : value;
}

function listen(target, name, heard) {
  if (!target || !target.addEventListener) return () => {};
  target.addEventListener(name, heard);
  return () => target.removeEventListener(name, heard);
}

function visibility(page, heard) {
  const document = page && page.document;
  return listen(document, 'visibilitychange', () => heard(document.visibilityState === 'visible'));
}

async function send(fetch, { url, method, headers, body, timeoutMs }) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new TidegateError('timeout', 'the gateway did not answer in time')), timeoutMs);
  });
  const answered = fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
    .then(async (answer) => {
      const lower = {};
      answer.headers.forEach((value, name) => {
        lower[name.toLowerCase()] = value;
      });
      return { status: answer.status, headers: lower, body: parsed(await answer.text()) };
    })
    .catch((error) => {
      throw new TidegateError('network', `the gateway could not be reached: ${(error.cause && error.cause.message) || error.message}`);
    });
  try {
    return await Promise.race([answered, late]);
  } finally {
    clearTimeout(timer);
    answered.catch(() => {});
  }
}

function parsed(text) {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch (_) {
    return text;
  }
}

function open(WebSocket, { url, token }, handlers) {
  // A browser sets no headers on a socket: the token goes as a subprotocol, where no log of URLs sees it.
  const socket = new WebSocket(url, [`tidegate.${token}`]);
  let over = false;
  const close = (code, reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    handlers.close(code, reason);
  };
  const timer = setTimeout(() => {
    close(1006, 'the socket did not open in time');
    socket.close();
  }, SOCKET_TIMEOUT_MS);
  socket.onopen = () => {
    clearTimeout(timer);
    if (!over) handlers.open();
  };
  socket.onmessage = ({ data }) => {
    if (!over) handlers.message(data);
  };
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => close(code, reason);
  return {
    send: (text) => socket.readyState === 1 && socket.send(text),
    close: () => {
      over = true;
      clearTimeout(timer);
      socket.close(1000);
    },
  };
}

module.exports = { webPlatform };
};

sources['requests.js'] = function (module, load) {
const { TidegateError, refusal } = load('errors.js');
const { Backoff } = load('backoff.js');

/** One attempt. Ten seconds: several round trips of a poor network. */
const TIMEOUT_MS = 10000;
/** All attempts of a request together; a person does not wait longer for a button. */
const PATIENCE_MS = 30000;
const ATTEMPTS_MAX = 5;

/**
 * Requests to the control API: queued where the platform allows only so many, repeated while the trouble passes.
 *
 * What creates something carries an `Idempotency-Key`, so that a repeat after a lost answer takes effect once.
 */
class Requests {
  constructor(platform, apiURL) {
    if (!/^https?:\/\//.test(apiURL || '')) {
      throw new TidegateError('invalid_request', 'apiURL: the http(s) address of the gateway, such as https://rtc.example.com');
    }
    this._platform = platform;
    this._base = apiURL.replace(/\/+$/, '');
  }

  /**
   * Answers the body of a 2xx; everything else is a TidegateError. `once` is for what must not be repeated, `creates`
   * for what needs a key to be.
   */
  async send({ method, path, token, body, creates, once }) {
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (creates) headers['idempotency-key'] = this.key();
    const request = this._platform.methods.has(method) ? { method } : { method: 'POST' };
    if (request.method !== method) headers['x-http-method-override'] = method;
    Object.assign(request, { url: this._base + path, headers, body, timeoutMs: TIMEOUT_MS });
    return this._repeat(request, once ? 1 : ATTEMPTS_MAX);
  }

  async _repeat(request, attemptsMax) {
    const { now, random } = this._platform;
    const backoff = new Backoff(random, { longestMs: 5000 });
    const deadline = now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this._attempt(request);
      } catch (error) {
        const wait = Math.max(backoff.next(), error.retryAfterMs || 0);
        if (!error.isPassing || backoff.attempts >= attemptsMax || now() + wait > deadline) throw error;
        await new Promise((resolve) => this._platform.setTimer(resolve, wait));
      }
    }
  }

  _attempt(request) {
    return new Promise((resolve, reject) => {
      this._platform.requestSlots.take((release) => {
        const settled = (settle) => (value) => {
          release();
          settle(value);
        };
        this._platform.request(request).then(settled(resolve), settled(reject));
      });
    }).then((answer) => {
      if (answer.status >= 200 && answer.status < 300) return answer.body;
      throw refusal(answer);
    });
  }

  /** A text that nobody else draws. */
  key() {
    let key = '';
    while (key.length < 24) key += Math.floor(this._platform.random() * 36).toString(36);
    return key;
  }
}

module.exports = { Requests };
};

sources['roster.js'] = function (module, load) {
const { ConfrType, Role } = load('constants.js');

/**
 * Who is inside and what may be watched: a fold over the frames of the feed, without IO.
 *
 * `streams` holds those whose media flows. Each `apply` answers what changed, in the order in which to tell it; a
 * snapshot is turned into the changes that lead to it, so that whoever follows the changes never has to know that
 * something was missed.
 */
class Roster {
  constructor() {
    this.conference = null;
    this.selfId = null;
    this.members = new Map();
    this.streams = new Map();
  }

  /** The one that this stay is; null before the first join. */
  get self() {
    return this.members.get(this.selfId) || null;
  }

  /** From the answer to a join, the first or a later one. */
  join({ confr, member }) {
    return this._become(confr, member, this.selfId);
  }

  /** One frame of the feed; unknown types change nothing and are told as they are. */
  apply(frame) {
    switch (frame.type) {
      case 'snapshot':
        return this._become(
          Object.assign({}, frame.conference, { members: frame.members, streams: frame.streams }),
          frame.member || this.self,
          this.selfId
        );
      case 'memberJoined':
        return this._memberIs(frame.member);
      case 'memberChanged':
      case 'roleChanged':
        return this._memberIs(frame.member, frame.roleToken);
      case 'memberExited':
        return this._memberLeft(frame.member, frame.reason);
      case 'streamAdded':
      case 'mediaChanged':
        return this._streamIs(frame.stream, frame.refused);
      case 'streamRemoved':
        return this._streamLeft(frame.stream, frame.reason);
      case 'conferenceChanged':
        this.conference = Object.assign({}, this.conference, frame.conference);
        return [{ type: 'conferenceChanged', conference: this.conference }];
      default:
        return [frame];
    }
  }

  _become(confr, self, before) {
    this.conference = confr;
    this.selfId = self.id;
    const present = new Map(confr.members.concat(self).map((member) => [member.id, member]));
    const flowing = new Map((confr.streams || []).filter((stream) => stream.live).map((stream) => [stream.id, stream]));
    const changes = [];
    for (const stream of Array.from(this.streams.values())) {
      if (!flowing.has(stream.id)) changes.push(...this._streamLeft(stream, 'publisherGone'));
    }
    for (const member of Array.from(this.members.values())) {
      // An earlier self is not somebody who left.
      if (!present.has(member.id) && member.id === before) this.members.delete(member.id);
      else if (!present.has(member.id)) changes.push(...this._memberLeft(member, 0));
    }
    for (const member of present.values()) changes.push(...this._memberIs(member));
    for (const stream of flowing.values()) changes.push(...this._streamIs(stream));
    return changes;
  }

  _memberIs(member, roleToken) {
    const known = this.members.get(member.id);
    this.members.set(member.id, member);
    const isSelf = member.id === this.selfId;
    if (!known) return isSelf ? [] : [{ type: 'memberJoined', member }];
    const changes = [];
    if (known.role !== member.role || roleToken) {
      changes.push({ type: 'roleChanged', member, role: member.role, isSelf, roleToken: roleToken || null });
    }
    if (this._isHidden(member)) return changes.concat(this._memberLeft(member, 0));
    if (same(Object.assign({}, known, { role: member.role }), member)) return changes;
    return changes.concat({ type: 'memberChanged', member, isSelf });
  }

  /**
   * The audience of a LIVE conference is not told to members: who becomes AUDIENCE there goes out of sight, and its
   * exit is not told.
   */
  _isHidden(member) {
    return this.conference.type === ConfrType.LIVE && member.role < Role.TALKER && member.id !== this.selfId;
  }

  _memberLeft(member, reason) {
    const changes = [];
    for (const stream of Array.from(this.streams.values())) {
      if (stream.memId === member.id) changes.push(...this._streamLeft(stream, 'ownerGone'));
    }
    if (!this.members.delete(member.id)) return changes;
    return changes.concat({ type: 'memberExited', member, reason });
  }

  /** `refused`: `videos_full` where the own pictures found no place. */
  _streamIs(stream, refused) {
    const known = this.streams.get(stream.id);
    if (stream.live) this.streams.set(stream.id, stream);
    if (stream.live && !known) return [{ type: 'streamAdded', stream, member: this._ownerOf(stream) }];
    if (known && same(known, stream) && !refused) return [];
    return [{ type: 'mediaChanged', stream, member: this._ownerOf(stream), refused: refused || null }];
  }

  _streamLeft(stream, reason) {
    const known = this.streams.get(stream.id);
    if (!known) return [];
    this.streams.delete(stream.id);
    return [{ type: 'streamRemoved', stream: known, member: this._ownerOf(known), reason: reason || null }];
  }

  _ownerOf(stream) {
    return this.members.get(stream.memId) || stream.owner;
  }
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

module.exports = { Roster };
};

sources['stay.js'] = function (module, load) {
const { ExitReason } = load('constants.js');
const { Feed } = load('feed.js');

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
};

sources['feed.js'] = function (module, load) {
const { Backoff } = load('backoff.js');

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
};

sources['emedia/index.js'] = function (module, load) {
const { defaultPlatform } = load('platform/index.js');
const { TidegateError } = load('errors.js');
const { Manager } = load('emedia/mgr.js');

const RTC_ID_LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** An `emedia` of its own: most apps use the one that is exported. */
function createEmedia() {
  const options = {};
  const configured = () => {
    if (!options.apiURL) throw new TidegateError('invalid_request', 'call emedia.config({ apiURL, token }) first');
    options.platform = options.platform || defaultPlatform();
    return options;
  };
  let rtcIds = 0;
  /**
   * Who and where: `{ apiURL, token | getToken, appId?, user?, platform? }`. `token` is the user token that the app's
   * backend signs; `getToken(user)` asks for one, and is called again when it has run out. `appId` and `user` stand
   * in the token; here they are for the app to read.
   */
  const config = (given) => {
    const { getToken } = given;
    Object.assign(options, given);
    if (getToken) options.getToken = () => getToken(options.user);
  };
  // emedia's own way to name the host is an assignment.
  Object.defineProperty(config, 'apiURL', {
    get: () => options.apiURL,
    set: (url) => {
      options.apiURL = url;
    },
  });
  return {
    config,
    util: {
      /** A name for an own stream that no other of this client has. */
      getRtcId() {
        rtcIds += 1;
        let letters = '';
        while (letters.length < 3) letters += RTC_ID_LETTERS[Math.floor(Math.random() * RTC_ID_LETTERS.length)];
        return `wx-${rtcIds}-${letters}`;
      },
    },
    mgr: new Manager(configured),
  };
}

module.exports = { createEmedia };
};

sources['emedia/mgr.js'] = function (module, load) {
const { Conference } = load('conference.js');
const { ConfrType, Role } = load('constants.js');
const { TidegateError } = load('errors.js');
const { Api } = load('api.js');
const { Requests } = load('requests.js');
const { alike } = load('emedia/callbacks.js');
const { follow, tell } = load('emedia/handlers.js');
const shapes = load('emedia/shapes.js');

/**
 * `emedia.mgr`: the names and shapes of emedia's mini-program SDK over a Tidegate conference.
 *
 * `options()` gives what `emedia.config` was told. Calls without a confrId mean the conference that was joined last.
 */
class Manager {
  constructor(options) {
    this._options = options;
    /** Conferences that this client made: their ADMIN tickets run them, joined or not. */
    this._made = new Map();
    this._calls = new Map();
    this._last = null;
    this.ConfrType = ConfrType;
    this.Role = Role;
  }

  /** The modern face of a call that is joined; without `confrId` the last one. */
  conference(confrId) {
    return confrId === undefined ? this._last : this._calls.get(idOf(confrId)) || null;
  }

  async createConference(confrType, password, rec, recMerge) {
    const settings = { confrType: Number(confrType) || ConfrType.COMMUNICATION, rec: Boolean(rec), recMerge: Boolean(recMerge) };
    if (password !== undefined && password !== null) settings.password = String(password);
    const made = await Conference.create(this._options(), settings);
    this._made.set(made.confrId, made);
    // The ADMIN ticket is taken where emedia takes the role token.
    return shapes.confr(made, { roleToken: made.ticket });
  }

  async getConferenceTkt(confrId, password) {
    const made = this._made.get(idOf(confrId));
    if (made && (!password || made.password === password)) return made.ticket;
    const { ticket } = await Conference.requestTicket(this._options(), { confrId: idOf(confrId), password });
    return ticket;
  }

  async joinConference(confrId, password, ext) {
    const id = idOf(confrId);
    const getTicket = () => this.getConferenceTkt(id, password);
    const ticket = await getTicket();
    return this._join({ confrId: id, ticket, getTicket, ext: shapes.ext(ext) }, { ticket, password });
  }

  async joinConferenceWithTicket(confrId, ticket, ext) {
    const text = ticket && typeof ticket === 'object' ? ticket.ticket : ticket;
    return this._join({ confrId: idOf(confrId), ticket: text, ext: shapes.ext(ext) }, { ticket: text });
  }

  async joinRoom(option) {
    const { roomName, password, role, config } = option || {};
    const wanted = Object.assign({}, config);
    if (wanted.ext !== undefined) wanted.ext = shapes.ext(wanted.ext);
    return this._join({ roomName, password, role: Number(role) || undefined, config: wanted }, { password });
  }

  async exitConference(confrId) {
    const call = this._call(confrId);
    if (call) await call.leave();
  }

  async destroyConference(confrId) {
    await this._run(confrId, (call) => call.end(), (api, id, ticket) => api.endConference(id, ticket));
    this._made.delete(idOf(confrId));
  }

  async kickMembersById(confrId, memberNames) {
    const names = this._names(confrId, memberNames);
    return this._run(confrId, (call) => call.kick(names), (api, id, ticket) => api.kick(id, ticket, names));
  }

  async grantRole(confrId, memberNames, role) {
    const names = this._names(confrId, memberNames);
    const wanted = Number(role);
    return this._run(confrId, (call) => call.setRole(names, wanted), (api, id, ticket) => api.setRole(id, ticket, names, wanted));
  }

  /** Holds members' `{ audio, video }` back: not in emedia's mini-program SDK. */
  async muteMembers(confrId, memberNames, what) {
    const names = this._names(confrId, memberNames);
    return this._run(confrId, (call) => call.mute(names, what), (api, id, ticket) => api.mute(id, ticket, names, what));
  }

  /**
   * `options`: `{ video, audio, type }`, as `Conference.publish` takes them. The answer also holds the `publication`,
   * which follows the live-pusher's codes.
   */
  async pubStream(rtcId, options) {
    const call = this._joined();
    const publication = await call.publish(Object.assign({ rtcId }, options));
    if (!publication.isFollowed) {
      publication.isFollowed = true;
      publication.on('start', ({ url }) => tell(this, 'onPushUrlChanged', url, rtcId));
    }
    return { data: publication.data, stream: publication.stream, publication };
  }

  /** The answer also holds the `subscription`, which follows the live-player's codes. */
  async subStream(streamId, options) {
    const id = streamId && typeof streamId === 'object' ? streamId.id : streamId;
    const holder = Array.from(this._calls.values()).find((call) => call.streams.has(id));
    const subscription = await (holder || this._joined()).subscribe(id, options);
    if (!subscription.isFollowed) {
      subscription.isFollowed = true;
      subscription.on('start', ({ url }) => tell(this, 'onPlayUrlChanged', url, id));
    }
    return { data: subscription.data, stream: subscription.stream, subscription };
  }

  /** What `bindstatechange` of the live-pusher gave. */
  handlePusherState(event, rtcId) {
    for (const call of this._calls.values()) {
      for (const publication of call.publications.values()) {
        if (rtcId === undefined || publication.rtcId === rtcId) publication.handleStateChange(event);
      }
    }
  }

  /** What `bindstatechange` of the live-player of that stream gave. */
  handlePlayerState(event, streamId) {
    for (const call of this._calls.values()) {
      const subscription = call.subscriptions.get(streamId);
      if (subscription) subscription.handleStateChange(event);
    }
  }

  /** emedia's way to name the gateway. */
  setHost(url) {
    this._options().apiURL = url;
  }

  async _join(target, more) {
    const call = new Conference(this._options());
    const joined = await call.join(target);
    this._calls.set(call.confrId, call);
    this._last = call;
    const { confrId } = call;
    call.on('left', ({ reason, failed }) => {
      this._forget(confrId, call);
      tell(this, 'onConferenceExit', reason, failed === null ? undefined : failed);
    });
    // The app's `then` runs first: its handlers find what it keeps there.
    setTimeout(() => follow(this, call), 0);
    const { confr, roleToken, isCreator } = joined;
    return shapes.confr(confr, Object.assign({ roleToken, memId: joined.member.id }, more, isCreator === undefined ? {} : { isCreator }));
  }

  _forget(confrId, call) {
    if (this._calls.get(confrId) === call) this._calls.delete(confrId);
    if (this._last === call) this._last = Array.from(this._calls.values()).pop() || null;
  }

  _call(confrId) {
    return confrId === undefined ? this._last : this._calls.get(idOf(confrId));
  }

  _joined() {
    if (this._last) return this._last;
    throw new TidegateError('not_joined', 'join a conference first');
  }

  _names(confrId, wanted) {
    const call = this._call(confrId);
    return shapes.memberNames(wanted, call ? call.members.values() : []);
  }

  /** As the member that is inside, else with the ticket of its creation. */
  _run(confrId, asMember, byTicket) {
    const call = this._call(confrId);
    if (call) return asMember(call);
    const made = this._made.get(idOf(confrId));
    if (!made) throw new TidegateError('not_joined', 'this needs a member inside, or the creator of the conference');
    const { apiURL, platform } = this._options();
    return byTicket(new Api(new Requests(platform, apiURL)), made.confrId, made.ticket);
  }
}

for (const name of [
  'createConference',
  'getConferenceTkt',
  'joinConference',
  'joinConferenceWithTicket',
  'joinRoom',
  'exitConference',
  'destroyConference',
  'kickMembersById',
  'grantRole',
  'muteMembers',
  'pubStream',
  'subStream',
]) {
  Manager.prototype[name] = alike(Manager.prototype[name]);
}

/** A confrId, or the `confr` that has one. */
function idOf(confr) {
  return confr && typeof confr === 'object' ? confr.confrId : confr;
}

module.exports = { Manager };
};

sources['emedia/callbacks.js'] = function (module, load) {
const { call } = load('emitter.js');

/**
 * Makes a method that answers a promise take callbacks too: `{ success, fail (or error), complete }` as the last
 * argument, or one or two functions (success, fail). `options`: the method's only argument may hold them beside its
 * own fields.
 */
function alike(method) {
  return function withCallbacks(...args) {
    const { rest, success, fail, complete } = split(args);
    const promise = Promise.resolve().then(() => method.apply(this, rest));
    if (!success && !fail && !complete) return promise;
    promise.then(
      (value) => {
        if (success) call(success, value);
        if (complete) call(complete, value);
      },
      (error) => {
        if (fail) call(fail, error);
        if (complete) call(complete, error);
      }
    );
    return promise;
  };
}

function split(args) {
  const last = args[args.length - 1];
  if (typeof last === 'function') {
    const before = args[args.length - 2];
    const two = typeof before === 'function';
    return { rest: args.slice(0, two ? -2 : -1), success: two ? before : last, fail: two ? last : undefined };
  }
  if (!hasCallbacks(last)) return { rest: args };
  const { success, fail, error, complete } = last;
  const own = Object.assign({}, last);
  for (const name of ['success', 'fail', 'error', 'complete']) delete own[name];
  const rest = Object.keys(own).length > 0 ? args.slice(0, -1).concat(own) : args.slice(0, -1);
  return { rest, success, fail: fail || error, complete };
}

function hasCallbacks(value) {
  if (typeof value !== 'object' || value === null) return false;
  return ['success', 'fail', 'error', 'complete'].some((name) => typeof value[name] === 'function');
}

module.exports = { alike };
};

sources['emedia/handlers.js'] = function (module, load) {
const { call } = load('emitter.js');
const shapes = load('emedia/shapes.js');

/** Handlers that stand under two names call both. */
const JOINED = ['onMemberJoined', 'onMemberJoin'];
const MEDIA_CHANGED = ['onMediaChanaged', 'onMediaChanged'];

/** Calls `mgr[name](…)` where the app has set it. */
function tell(mgr, names, ...values) {
  for (const name of [].concat(names)) {
    if (typeof mgr[name] === 'function') call(mgr[name].bind(mgr), ...values);
  }
}

/**
 * Handlers of streams come in two forms: `(member, stream)` for those that take two arguments, `(stream)` for the
 * others.
 */
function tellStream(mgr, names, member, stream) {
  for (const name of [].concat(names)) {
    const handler = mgr[name];
    if (typeof handler !== 'function') continue;
    if (handler.length >= 2) call(handler.bind(mgr), member, stream);
    else call(handler.bind(mgr), stream);
  }
}

/** Tells the handlers of `mgr` what happens in `conference`, beginning with who is inside, oneself first. */
function follow(mgr, conference) {
  if (conference.state === 'left') return;
  const self = () => (conference.self ? conference.self.id : null);
  const memberOf = (member) => shapes.member(member, self());
  const isOwn = (stream) => stream.memId === self();

  const joined = (member) => {
    const stream = Array.from(conference.streams.values()).find(({ memId }) => memId === member.id);
    tell(mgr, JOINED, memberOf(member), stream && shapes.stream(stream, memberOf(member)));
  };
  const streamTold = (names) => ({ stream, member }) => {
    const owner = memberOf(member);
    tellStream(mgr, names, owner, shapes.stream(stream, owner));
  };
  const others = (told) => (change) => {
    if (!isOwn(change.stream)) told(change);
  };

  conference.on('memberJoined', ({ member }) => joined(member));
  conference.on('memberExited', ({ member, reason }) => tell(mgr, 'onMemberExited', memberOf(member), reason));
  conference.on('rejoined', ({ member }) => joined(member));
  conference.on('roleChanged', ({ role, isSelf }) => isSelf && tell(mgr, 'onRoleChanged', role));
  // The own stream is no news to its publisher, who would watch itself.
  conference.on('streamAdded', others(streamTold('onStreamAdded')));
  conference.on('streamRemoved', others(streamTold('onStreamRemoved')));
  conference.on('mediaChanged', streamTold(MEDIA_CHANGED));
  conference.on('message', (message) => tell(mgr, 'onMessage', message));
  conference.on('stateChanged', ({ state }) => {
    if (state === 'reconnecting' || state === 'rejoining') tell(mgr, 'onNetworkDisconnect', state);
    if (state === 'joined') tell(mgr, 'onReconnect');
  });

  const present = Array.from(conference.members.values());
  const first = present.filter(({ id }) => id === self());
  for (const member of first.concat(present.filter(({ id }) => id !== self()))) joined(member);
  for (const stream of conference.streams.values()) {
    others(streamTold('onStreamAdded'))({ stream, member: conference.members.get(stream.memId) || stream.owner });
  }
}

module.exports = { follow, tell };
};

sources['emedia/shapes.js'] = function (module, load) {
/** The objects of emedia: the gateway's own, with the fields that emedia's users read. */

/** `confr`: `{ confrId, id, password, roleToken, ticket, type }` and what the gateway tells beside them. */
function confr(conference, more) {
  return Object.assign({}, conference, { id: conference.confrId }, more);
}

/** `member`, as handlers get it. */
function member(known, selfId) {
  return known ? Object.assign({}, known, { memName: known.name, isSelf: known.id === selfId }) : known;
}

/** `stream`, with the `owner` as it is now. */
function stream(known, owner) {
  return Object.assign({}, known, { owner: owner || known.owner });
}

/** Names of users, as kick and roles take them: from names, global names, member ids or member objects. */
function memberNames(wanted, members) {
  const list = Array.isArray(wanted) ? wanted : [wanted];
  return list.map((one) => {
    const text = typeof one === 'object' && one !== null ? one.name : String(one);
    const known = Array.from(members).find(({ id, globalName }) => id === text || globalName === text);
    return known ? known.name : text;
  });
}

/** `ext` as an object; emedia's users also write it as JSON. */
function ext(given) {
  if (typeof given !== 'string' || given === '') return given || undefined;
  try {
    return JSON.parse(given);
  } catch (_) {
    return { ext: given };
  }
}

module.exports = { confr, member, stream, memberNames, ext };
};

sources['voip/index.js'] = function (module, load) {
const { Conference } = load('conference.js');
const { Emitter } = load('emitter.js');
const { defaultPlatform } = load('platform/index.js');
const { TidegateError } = load('errors.js');
const { Tiles } = load('voip/tiles.js');

/** WeChat's numbers for what goes wrong. */
const ErrCode = Object.freeze({ ALREADY_INSIDE: -1, RECORDER_BUSY: -2, LEFT_WHILE_JOINING: -3, SYSTEM: -1000 });

/** The own stream among the member's streams. */
const RTC_ID = 'voip';

const EVENTS = [
  'VoIPChatMembersChanged',
  'VoIPChatSpeakersChanged',
  'VoIPVideoMembersChanged',
  'VoIPChatInterrupted',
  'VoIPChatStateChanged',
  'VoIPTilesChanged',
];

/**
 * WeChat's VoIP names over a conference of the gateway, where web pages and other clients can be members too.
 *
 * `options`: `apiURL`, `token` or `getToken` (the user token; its user is the openid), `getSignature(groupId)` for
 * coming back by itself, `platform`.
 *
 * WeChat's `voip-room` carries sound and pictures by itself; here the page shows a live-pusher and live-players, and
 * `tiles()` tells with which URLs. `onVoIPTilesChanged` tells when to look again.
 */
class Voip {
  constructor(options) {
    this._options = Object.assign({}, options);
    this._options.platform = this._options.platform || defaultPlatform();
    this._events = new Emitter();
    this._state = 'idle';
    this._call = null;
    this._tiles = null;
    this._muteConfig = {};
    this._isRecorderBusy = false;
    this._options.platform.onInterruptionBegin(() => {
      this._isRecorderBusy = true;
    });
    this._options.platform.onInterruptionEnd(() => {
      this._isRecorderBusy = false;
    });
  }

  /**
   * Joins the group: `{ groupId, roomType, signature, nonceStr, timeStamp, muteConfig, success, fail, complete }` →
   * `{ openIdList, errCode, errMsg }`.
   */
  joinVoIPChat(given) {
    return this._run('joinVoIPChat', given, (option) => this._join(option));
  }

  exitVoIPChat(given) {
    return this._run('exitVoIPChat', given, async () => {
      if (this._state === 'joining') this._interruptJoin('left while joining');
      if (this._call) await this._call.leave();
    });
  }

  /** `{ muteConfig: { muteMicrophone, muteEarphone } }`: what is not named stays. */
  updateVoIPChatMuteConfig(given) {
    return this._run('updateVoIPChatMuteConfig', given, async ({ muteConfig }) => {
      const call = this._inside();
      Object.assign(this._muteConfig, muteConfig);
      const publication = call.publications.get(RTC_ID);
      this._tiles.update();
      if (publication) await publication.setMedia({ audio: !this._muteConfig.muteMicrophone });
    });
  }

  /** `{ openIdList }`: whose pictures are shown, of more than two members. */
  subscribeVoIPVideoMembers(given) {
    return this._run('subscribeVoIPVideoMembers', given, async ({ openIdList }) => {
      this._inside();
      this._tiles.show(openIdList || []);
    });
  }

  /**
   * What the page shows, in the order of joining: `{ openid, isSelf, url, picture, sound, track }`. A tile without
   * `picture` is for its sound alone: its live-player is not seen. `track` is the publication or subscription that
   * the component's events go to.
   */
  tiles() {
    return this._tiles ? this._tiles.list() : [];
  }

  async _join(option) {
    if (this._state !== 'idle') throw fault(ErrCode.ALREADY_INSIDE, 'already in a room');
    if (this._isRecorderBusy) throw fault(ErrCode.RECORDER_BUSY, 'the microphone is in use by another call');
    this._state = 'joining';
    const call = new Conference(this._options);
    this._call = call;
    const interrupted = new Promise((_, reject) => {
      this._interruptJoin = (why) => reject(fault(ErrCode.LEFT_WHILE_JOINING, why));
    });
    const offHide = this._options.platform.onHide(() => this._interruptJoin('the mini program went to the background'));
    try {
      await Promise.race([this._enter(call, option), interrupted]);
    } catch (error) {
      this._state = 'idle';
      this._call = null;
      this._tiles = null;
      call.leave().catch(() => {});
      throw error;
    } finally {
      offHide();
    }
    this._state = 'inside';
    this._follow(call);
    return { openIdList: this._openIds() };
  }

  async _enter(call, option) {
    const { groupId, roomType, signature, nonceStr, timeStamp, muteConfig } = option;
    const { getSignature } = this._options;
    await call.join({ groupId, roomType, signature, nonceStr, timeStamp, muteConfig, getSignature });
    this._muteConfig = Object.assign({ muteMicrophone: false, muteEarphone: false }, muteConfig);
    this._tiles = new Tiles(call, RTC_ID, this._muteConfig, () => this._events.emit('VoIPTilesChanged', { tiles: this.tiles() }));
    await call.publish({ rtcId: RTC_ID, video: call.info.roomType === 'video', audio: !this._muteConfig.muteMicrophone });
    this._tiles.begin();
  }

  _follow(call) {
    const membersChanged = () => this._emit('VoIPChatMembersChanged', { openIdList: this._openIds() });
    call.on('memberJoined', membersChanged);
    call.on('memberExited', membersChanged);
    let videos = this._videoOpenIds().join();
    const videosChanged = () => {
      const openIdList = this._videoOpenIds();
      if (openIdList.join() === videos) return;
      videos = openIdList.join();
      this._emit('VoIPVideoMembersChanged', { openIdList });
    };
    for (const name of ['streamAdded', 'streamRemoved', 'mediaChanged']) call.on(name, videosChanged);
    call.on('stateChanged', ({ state }) => this._emit('VoIPChatStateChanged', { code: 0, data: { state } }));
    const publication = call.publications.get(RTC_ID);
    publication.on('change', ({ state }) => {
      if (state.name === 'failed' && state.part === 'microphone') {
        this._emit('VoIPChatInterrupted', { errCode: ErrCode.RECORDER_BUSY, errMsg: 'the microphone cannot be used' });
      }
    });
    call.on('left', ({ reason }) => {
      this._state = 'idle';
      this._call = null;
      this._tiles = null;
      if (reason === 0) return;
      const errMsg = `the call has ended, reason ${reason}`;
      this._emit('VoIPChatInterrupted', { errCode: ErrCode.SYSTEM, errMsg, reason });
    });
  }

  _inside() {
    if (this._state !== 'inside') throw fault(ErrCode.SYSTEM, 'not in a room');
    return this._call;
  }

  _openIds() {
    return Array.from(this._call.members.values()).map(({ name }) => name);
  }

  _videoOpenIds() {
    const shown = new Set(Array.from(this._call.streams.values()).filter(({ voff }) => voff === 0).map(({ memId }) => memId));
    return Array.from(this._call.members.values()).filter(({ id }) => shown.has(id)).map(({ name }) => name);
  }

  _emit(name, event) {
    this._events.emit(name, Object.assign({ errCode: 0, errMsg: 'ok' }, event));
  }

  /** WeChat's manner: callbacks, and a promise where there are none. */
  _run(name, given, act) {
    const { success, fail, complete } = given || {};
    const promise = Promise.resolve()
      .then(() => act(given || {}))
      .then((value) => Object.assign({ errCode: 0, errMsg: `${name}:ok` }, value))
      .catch((error) => {
        throw failure(name, error);
      });
    if (success || fail || complete) {
      promise.then(
        (value) => [success, complete].forEach((told) => told && told(value)),
        (error) => [fail, complete].forEach((told) => told && told(error))
      );
    }
    return promise;
  }
}

for (const event of EVENTS) {
  Voip.prototype[`on${event}`] = function on(callback) {
    this._events.on(event, callback);
  };
  Voip.prototype[`off${event}`] = function off(callback) {
    this._events.off(event, callback);
  };
}

function fault(errCode, message) {
  const error = new TidegateError('aborted', message);
  error.errCode = errCode;
  return error;
}

/** An error as WeChat's callbacks get it, with the gateway's `reason` beside it. */
function failure(name, error) {
  error.errCode = error.errCode === undefined ? ErrCode.SYSTEM : error.errCode;
  error.errMsg = `${name}:fail ${error.message}`;
  return error;
}

module.exports = { Voip, VoIPErrCode: ErrCode };
};

sources['voip/tiles.js'] = function (module, load) {
/** Of more than two members a room shows the pictures of the first two, until the app says whose. */
const FIRST_PICTURES = 2;

/**
 * Who is heard and who is seen in a VoIP room. Everybody is played, for the sound; the gateway makes no stream
 * without pictures of one with pictures.
 */
class Tiles {
  constructor(call, rtcId, muteConfig, changed) {
    this._call = call;
    this._rtcId = rtcId;
    this._muteConfig = muteConfig;
    this._changed = changed;
    this._wanted = null;
    this._coming = new Set();
  }

  begin() {
    const update = () => this.update();
    this._call.on('streamAdded', ({ stream }) => this._play(stream));
    this._call.on('streamRemoved', ({ stream }) => this._drop(stream));
    for (const name of ['memberJoined', 'memberExited', 'mediaChanged']) this._call.on(name, update);
    this._call.publications.get(this._rtcId).on('change', update);
    for (const stream of this._call.streams.values()) this._play(stream);
    this.update();
  }

  /** From now on the pictures of these are shown. */
  show(openIds) {
    this._wanted = new Set(openIds);
    this.update();
  }

  update() {
    this._changed();
  }

  list() {
    const members = Array.from(this._call.members.values());
    const first = new Set(members.slice(0, FIRST_PICTURES).map(({ name }) => name));
    return members.map((member) => this._tile(member, this._wanted || first)).filter((tile) => tile.track);
  }

  _tile(member, seen) {
    const isSelf = member.id === this._call.self.id;
    const tracks = isSelf ? this._call.publications : this._call.subscriptions;
    const track = Array.from(tracks.values()).find(({ stream }) => stream.memId === member.id) || null;
    const hasVideo = track !== null && (isSelf ? track.video : track.stream.voff === 0);
    return {
      openid: member.name,
      isSelf,
      url: track && track.url,
      picture: hasVideo && (isSelf || seen.has(member.name)),
      sound: isSelf ? track !== null && track.audio : !this._muteConfig.muteEarphone,
      track,
    };
  }

  _play(stream) {
    if (stream.memId === this._call.self.id || this._coming.has(stream.id)) return;
    this._coming.add(stream.id);
    this._call
      .subscribe(stream.id)
      .then((subscription) => {
        subscription.on('change', () => this.update());
        this.update();
      })
      // Whoever is gone meanwhile needs no tile.
      .catch(() => {})
      .then(() => this._coming.delete(stream.id));
  }

  _drop(stream) {
    const subscription = this._call.subscriptions.get(stream.id);
    if (subscription) subscription.close();
    this.update();
  }
}

module.exports = { Tiles };
};

module.exports = load('index.js');
