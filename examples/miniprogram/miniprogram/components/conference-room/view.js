// What a call looks like: from a Conference to the data of the component. Pure.

const { Role } = require('../../lib/tidegate/tidegate.js');

/** The hint over a picture; empty while all is well. */
function hint(track, isSelf, texts) {
  const { name, part } = track.state;
  if (name === 'failed') return texts[part] || texts.failed;
  if (isSelf && track.refused === 'videos_full') return texts.videosFull;
  if (name === 'reconnecting' || name === 'refreshing') return texts.reconnecting;
  if (name === 'live' || name === 'playing') return track.weak ? texts.weak : '';
  return texts[name] || '';
}

function nameOf(member, texts) {
  return member.nickName || member.name || texts.me;
}

function ownTile(conference, publication, texts) {
  return {
    key: 'own',
    isSelf: true,
    name: `${nameOf(conference.self, texts)} (${texts.me})`,
    video: publication.video,
    audio: publication.audio && !conference.self.muted.audio,
    hint: hint(publication, true, texts),
  };
}

function otherTile(conference, subscription, texts) {
  const { stream } = subscription;
  const member = conference.members.get(stream.memId) || stream.owner;
  return {
    key: stream.id,
    isSelf: false,
    name: nameOf(member, texts),
    video: stream.voff === 0,
    audio: stream.aoff === 0 && !member.muted.audio,
    hint: hint(subscription, false, texts),
  };
}

/** Columns of the grid: one picture fills it, up to four stand in two columns, more in three. */
function columns(count) {
  if (count <= 1) return 1;
  return count <= 4 ? 2 : 3;
}

function people(conference, texts) {
  const isAdmin = conference.role === Role.ADMIN;
  return Array.from(conference.members.values(), (member) => ({
    id: member.id,
    user: member.name,
    name: nameOf(member, texts),
    role: member.role,
    roleText: texts.roles[member.role],
    isSelf: member.id === conference.self.id,
    isMuted: member.muted.audio,
    canManage: isAdmin && member.id !== conference.self.id,
  }));
}

/** All data of the component, from the call as it is now. `asks`: names of those who ask to speak. */
function view(conference, { asks, hasAsked }, texts) {
  const publication = Array.from(conference.publications.values())[0];
  const others = Array.from(conference.subscriptions.values(), (subscription) => otherTile(conference, subscription, texts));
  const tiles = (publication ? [ownTile(conference, publication, texts)] : []).concat(others);
  const members = people(conference, texts);
  const audience = (conference.info && conference.info.audienceCount) || 0;
  return {
    state: conference.state,
    banner: conference.state === 'joined' ? '' : texts[conference.state] || '',
    tiles,
    columns: columns(tiles.length),
    members,
    audience: conference.info && conference.info.type === 12 && audience > 0 ? texts.audience(audience) : '',
    asks: asks.filter((name) => members.some(({ user, role }) => user === name && role < Role.TALKER)),
    hasAsked,
    me: {
      isAdmin: conference.role === Role.ADMIN,
      mayPublish: conference.role >= Role.TALKER,
      publishes: Boolean(publication),
      video: Boolean(publication && publication.video),
      audio: Boolean(publication && publication.audio),
    },
  };
}

module.exports = { view, columns, hint };
