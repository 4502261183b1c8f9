'use strict';

const { defaultPlatform } = require('../platform');
const { TidegateError } = require('../errors');
const { Manager } = require('./mgr');

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
