'use strict';

const { Conference } = require('../conference');
const { ConfrType, Role } = require('../constants');
const { TidegateError } = require('../errors');
const { Api } = require('../api');
const { Requests } = require('../requests');
const { alike } = require('./callbacks');
const { follow, tell } = require('./handlers');
const shapes = require('./shapes');

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
