'use strict';

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
