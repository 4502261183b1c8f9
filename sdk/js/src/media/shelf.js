'use strict';

const { Role } = require('../constants');
const { TidegateError } = require('../errors');
const { Publication } = require('./publication');
const { Subscription } = require('./subscription');

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
