'use strict';

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
