import { createHmac, timingSafeEqual } from 'node:crypto';

/** Life of a user token. An hour: the client asks for another when the gateway no longer takes it. */
export const TTL_SECONDS = 3600;

const base64url = (value) => Buffer.from(value).toString('base64url');

function sign(text, secret) {
  return createHmac('sha256', secret).update(text).digest('base64url');
}

/** The parts of an app key `<appId>.<secret>`. */
export function parseKey(key) {
  const dot = key.indexOf('.');
  if (dot < 1 || dot === key.length - 1) throw new Error('the app key is <appId>.<secret>, as `tidegate key show` prints it');
  return { appId: key.slice(0, dot), secret: key.slice(dot + 1) };
}

/**
 * A user token: says to the gateway that its holder is this user of the app. Whoever holds the app's secret can say
 * so; no call to the gateway is needed.
 *
 * `can`: `['create']` lets the user make conferences and rooms.
 */
export function mintUserToken({ appId, secret }, user, can, nowSeconds = Math.floor(Date.now() / 1000)) {
  const expiresAt = nowSeconds + TTL_SECONDS;
  const claims = { typ: 'user', iss: appId, sub: user, exp: expiresAt, ...(can.length > 0 ? { can } : {}) };
  const signed = `${base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT' }))}.${base64url(JSON.stringify(claims))}`;
  return { token: `${signed}.${sign(signed, secret)}`, expiresAt };
}

/** The user of a token that was minted here and has not run out; null for all else. */
export function userOf({ secret }, token, nowSeconds = Math.floor(Date.now() / 1000)) {
  const [header, claims, signature] = String(token).split('.');
  const wanted = Buffer.from(sign(`${header}.${claims}`, secret));
  const given = Buffer.from(signature ?? '');
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  const { sub, exp } = JSON.parse(Buffer.from(claims, 'base64url').toString());
  return exp > nowSeconds ? sub : null;
}

/**
 * The signature that `wx.joinVoIPChat` and the gateway's VoIP rooms take. `sessionKey` is used as the text that it
 * is.
 */
export function signVoip({ appId, groupId, nonceStr, timeStamp }, sessionKey) {
  const text = [appId, groupId, nonceStr, String(timeStamp)].sort().join('');
  return createHmac('sha256', sessionKey).update(text).digest('hex');
}
