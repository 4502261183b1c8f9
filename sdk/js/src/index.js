'use strict';

const { Conference } = require('./conference');
const { ConfrType, ExitReason, Role, StreamType } = require('./constants');
const { createEmedia } = require('./emedia');
const { TidegateError } = require('./errors');
const { defaultPlatform, webPlatform, wxPlatform } = require('./platform');
const { Voip, VoIPErrCode } = require('./voip');

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
