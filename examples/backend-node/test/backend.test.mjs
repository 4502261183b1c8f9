import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { mintUserToken, parseKey, signVoip, userOf } from '../tokens.mjs';

const require = createRequire(import.meta.url);
const { Gateway } = require('../../../sdk/js/test/support/gateway.js');

const WEBHOOK_SECRET = 'whsec_of-the-backend-test';
const SESSION_KEY = 'gDyVgzwa0mFz9uUP7M6GQQ==';
const WECHAT_APP_ID = 'wx20afc706a711eefc';

/** Both backends do the same. */
const BACKENDS = {
  node: [process.execPath, ['server.mjs'], new URL('..', import.meta.url)],
  python: ['python3', ['-u', 'server.py'], new URL('../../backend-python', import.meta.url)],
};

let gateway;
let wechat;
const running = [];

before(async () => {
  gateway = await Gateway.start({ TIDEGATE_OUTBOUND_ALLOW: '127.0.0.1' });
  // WeChat, as far as the backend asks it.
  wechat = createServer((request, response) => {
    const query = new URL(request.url, 'http://wechat').searchParams;
    const isKnown = query.get('js_code') === 'good' && query.get('appid') === WECHAT_APP_ID && query.get('secret') === 'of-wechat';
    response.end(JSON.stringify(isKnown ? { openid: 'o-anna', session_key: SESSION_KEY } : { errcode: 40029, errmsg: 'invalid code' }));
  });
  await new Promise((resolve) => wechat.listen(0, '127.0.0.1', resolve));
});

after(async () => {
  for (const backend of running) backend.kill();
  wechat.closeAllConnections();
  await new Promise((resolve) => wechat.close(resolve));
  await gateway.close();
});

/** The backend as a process: its URL, and the lines that it prints. */
async function start(kind, env) {
  const [command, args, cwd] = BACKENDS[kind];
  const backend = spawn(command, args, {
    cwd,
    env: {
      ...process.env,
      TIDEGATE_APP_KEY: gateway.key,
      TIDEGATE_API_URL: gateway.http,
      WECHAT_API_URL: `http://127.0.0.1:${wechat.address().port}`,
      PORT: '0',
      HOST: '127.0.0.1',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.push(backend);
  let text = '';
  let look = () => {};
  backend.stdout.on('data', (chunk) => {
    text += chunk;
    look();
  });
  const line = (wanted) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no line like ${wanted} in ${text}`)), 30000);
      look = () => {
        const found = text.split('\n').slice(0, -1).find((one) => wanted.test(one));
        if (!found) return;
        clearTimeout(timer);
        resolve(found);
      };
      look();
    });
  const port = (await line(/^listening on \d+$/)).split(' ').pop();
  const post = async (path, body, headers = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers });
    const answered = await answer.text();
    return { status: answer.status, body: answered === '' ? null : JSON.parse(answered) };
  };
  return { post, line, url: `http://127.0.0.1:${port}` };
}

async function createAs(token) {
  return fetch(`${gateway.http}/v1/conferences`, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: '{}' });
}

for (const kind of Object.keys(BACKENDS)) {
  test(`${kind}: the gateway takes its user tokens`, async () => {
    const { post } = await start(kind, { DEMO_LOGINS: '1' });
    const { status, body } = await post('/login', { name: 'anna 安娜' });
    assert.equal(status, 200);
    assert.equal((await createAs(body.token)).status, 201);
    assert.equal(userOf(parseKey(gateway.key), body.token), 'anna 安娜');
    assert.deepEqual((await post('/login', 'no json')).status, 400);
    assert.deepEqual((await post('/elsewhere', {})).status, 404);
  });

  test(`${kind}: a name alone is nobody unless that was asked for`, async () => {
    const { post } = await start(kind, {});
    const { status, body } = await post('/login', { name: 'anna' });
    assert.equal(status, 401);
    assert.match(body.error, /wx\.login/);
  });

  test(`${kind}: who logs in by WeChat can enter a VoIP room with its signature`, async () => {
    const { post } = await start(kind, { WECHAT_APP_ID, WECHAT_APP_SECRET: 'of-wechat' });
    assert.equal((await post('/login', { code: 'bad' })).status, 401);
    const { body: session } = await post('/login', { code: 'good' });
    assert.equal(session.user, 'o-anna');
    assert.equal((await post('/voip/signature', { groupId: 'g' })).status, 401);
    const { body: signed } = await post('/voip/signature', { groupId: 'g' }, { authorization: `Bearer ${session.token}` });
    const joined = await fetch(`${gateway.http}/v1/voip/rooms/g/members`, {
      method: 'POST',
      headers: { authorization: `Bearer ${session.token}` },
      body: JSON.stringify({ signature: signed.signature, nonceStr: signed.nonceStr, timeStamp: signed.timeStamp, roomType: 'voice' }),
    });
    assert.equal(joined.status, 201);
  });

  test(`${kind}: it hears the gateway, and nobody else`, async () => {
    const { post, line, url } = await start(kind, { TIDEGATE_WEBHOOK_SECRET: WEBHOOK_SECRET });
    await gateway.api('PUT', '/v1/webhooks', { targets: [{ id: 'main', url: `${url}/webhooks`, secret: WEBHOOK_SECRET }] });
    const { confrId } = await gateway.api('POST', '/v1/conferences', {});
    await gateway.api('POST', `/v1/conferences/${confrId}/members`, { user: 'boris' });
    await line(new RegExp(`^conferenceStarted ${confrId}$`));
    await line(new RegExp(`^memberJoined ${confrId} boris$`));
    await gateway.api('PUT', '/v1/webhooks', { targets: [] });

    const text = '{"id":"TS_x-1","type":"forged","confrId":"TS_x"}';
    const seal = (time, secret) => `t=${time},v1=${createHmac('sha256', secret).update(`${time}.${text}`).digest('hex')}`;
    const now = Math.floor(Date.now() / 1000);
    const status = async (header) => (await post('/webhooks', text, header ? { 'tidegate-signature': header } : {})).status;
    assert.equal(await status(null), 401);
    assert.equal(await status(seal(now, 'whsec_of-somebody-else')), 401);
    assert.equal(await status(seal(now - 400, WEBHOOK_SECRET)), 401);
    assert.equal(await status(`${seal(now, 'whsec_old')},${seal(now, WEBHOOK_SECRET).split(',')[1]}`), 204);
    // The same again is taken, and not told twice.
    assert.equal(await status(seal(now, WEBHOOK_SECRET)), 204);
    await line(/^forged TS_x$/);
  });
}

test('tokens of others, changed ones and old ones are nobody', () => {
  const key = { appId: 'app', secret: 'secret' };
  const { token } = mintUserToken(key, 'anna', []);
  assert.equal(userOf(key, token), 'anna');
  assert.equal(userOf({ appId: 'app', secret: 'other' }, token), null);
  assert.equal(userOf(key, `${token}x`), null);
  assert.equal(userOf(key, undefined), null);
  assert.equal(userOf(key, mintUserToken(key, 'anna', [], 1000).token), null);
  assert.throws(() => parseKey(''), /app key/);
});

test('the signature is that of the guide', () => {
  const signed = { appId: WECHAT_APP_ID, groupId: '1559129713_672975982', nonceStr: '8AP6DT9ybtniUJfb', timeStamp: '1559129714' };
  assert.equal(signVoip(signed, SESSION_KEY), 'b002b824688dd8593a6079e11d8c5e8734fbcb39a6d5906eb347bfbcad79c617');
});
