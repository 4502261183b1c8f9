// The backend of a mini program that uses Tidegate: says who its users are, and hears what happens in their calls.
// Node 18 or later, no dependencies.
//
//   TIDEGATE_APP_KEY=$(tidegate key show) DEMO_LOGINS=1 node server.mjs
//
// README.md names all settings.

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { mintUserToken, parseKey, signVoip, userOf } from './tokens.mjs';
import { Inbox, isGenuine } from './webhooks.mjs';
import { codeToSession } from './wechat.mjs';

const { env } = process;
const settings = {
  key: parseKey(env.TIDEGATE_APP_KEY ?? ''),
  appKey: env.TIDEGATE_APP_KEY,
  apiURL: env.TIDEGATE_API_URL ?? 'http://127.0.0.1:8080',
  webhookSecret: env.TIDEGATE_WEBHOOK_SECRET,
  wechatAppId: env.WECHAT_APP_ID,
  wechatSecret: env.WECHAT_APP_SECRET,
  wechatURL: env.WECHAT_API_URL ?? 'https://api.weixin.qq.com',
  // Anybody is who they say: for trying it out, never on the internet.
  demoLogins: env.DEMO_LOGINS === '1',
};
// What every user of this app may do. Leave `create` away where only the backend makes conferences.
const USERS_CAN = ['create'];
// A conference with many members is some hundred kilobytes; nobody else sends more than a line.
const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** A refusal that the caller may read. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Session keys of WeChat logins, by openid. A real backend keeps them with its users. */
const sessionKeys = new Map();

async function login({ code, name }) {
  if (typeof code === 'string' && settings.wechatAppId) {
    const session = await codeToSession(settings, code);
    if (!session) throw new Refusal(401, 'WeChat does not know this code');
    const { openid, sessionKey } = session;
    sessionKeys.set(openid, sessionKey);
    await handInSessionKey(openid, sessionKey);
    return { user: openid, ...mintUserToken(settings.key, openid, USERS_CAN) };
  }
  if (typeof name === 'string' && name !== '' && settings.demoLogins) {
    return { user: name, ...mintUserToken(settings.key, name, USERS_CAN) };
  }
  throw new Refusal(401, 'send the code of wx.login; a name is enough only with DEMO_LOGINS=1');
}

/** The gateway checks signatures of VoIP rooms with it. It is another one after each login. */
async function handInSessionKey(openid, sessionKey) {
  const answer = await fetch(`${settings.apiURL}/v1/voip/sessions/${encodeURIComponent(openid)}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${settings.appKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sessionKey, appId: settings.wechatAppId }),
  });
  if (!answer.ok) throw new Error(`the gateway did not take the session key: ${answer.status} ${await answer.text()}`);
}

/** Signs for `joinVoIPChat`: only the backend has the session key. */
function voipSignature({ groupId }, user) {
  const sessionKey = sessionKeys.get(user);
  if (!sessionKey || typeof groupId !== 'string') throw new Refusal(403, 'log in by wx.login first, and name a groupId');
  const signed = {
    appId: settings.wechatAppId,
    groupId,
    nonceStr: randomBytes(12).toString('hex'),
    timeStamp: Math.floor(Date.now() / 1000),
  };
  return { ...signed, signature: signVoip(signed, sessionKey) };
}

const inbox = new Inbox((event) => console.log(`${event.type} ${event.confrId} ${event.member?.name ?? ''}`.trimEnd()));

function heard(request, body) {
  if (!settings.webhookSecret) throw new Refusal(404, 'set TIDEGATE_WEBHOOK_SECRET to hear of calls');
  if (!isGenuine(request.headers['tidegate-signature'], body, settings.webhookSecret)) throw new Refusal(401, 'not signed by the gateway');
  inbox.put(JSON.parse(body));
}

async function answer(request) {
  const { pathname } = new URL(request.url, 'http://backend');
  if (request.method !== 'POST') throw new Refusal(405, 'POST');
  const body = await read(request);
  switch (pathname) {
    case '/login':
      return login(parsed(body));
    case '/voip/signature': {
      const user = userOf(settings.key, request.headers.authorization?.replace(/^Bearer /, ''));
      if (!user) throw new Refusal(401, 'log in first');
      return voipSignature(parsed(body), user);
    }
    case '/webhooks':
      return heard(request, body);
    default:
      throw new Refusal(404, 'no such path');
  }
}

function parsed(body) {
  try {
    const value = JSON.parse(body);
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // Said below.
  }
  throw new Refusal(400, 'the body is a JSON object');
}

async function read(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Refusal(413, 'too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const server = createServer(async (request, response) => {
  try {
    const value = await answer(request);
    if (value === undefined) response.writeHead(204).end();
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  } catch (error) {
    const isOurs = !(error instanceof Refusal);
    if (isOurs) console.error(error);
    const text = JSON.stringify({ error: isOurs ? 'a fault of the backend' : error.message });
    response.writeHead(isOurs ? 500 : error.status, { 'content-type': 'application/json', connection: 'close' }).end(text);
  }
});

server.listen(Number(env.PORT ?? 3000), env.HOST ?? '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
