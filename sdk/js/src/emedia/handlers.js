'use strict';

const { call } = require('../emitter');
const shapes = require('./shapes');

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
