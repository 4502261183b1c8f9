'use strict';

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
