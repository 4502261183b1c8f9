'use strict';

const { ConfrType, Role } = require('./constants');

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
