'use strict';

// What the pages say, as far as a program can look after it.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const WebSocket = require('ws');
const client = require('../src');
const { PLAYER, PUSHER, PUSHER_ERROR } = require('../src/media/codes');
const { Manager } = require('../src/emedia/mgr');
const { Gateway } = require('./support/gateway');
const { next } = require('./support/wait');

const REPOSITORY = path.join(__dirname, '../../..');
const PAGES = [
  'docs/quick-start-miniprogram.md',
  'docs/quick-start-miniprogram.zh-CN.md',
  'docs/migrating-from-emedia.md',
  'docs/migrating-from-roomservice.md',
  'docs/status-codes.md',
  'docs/voip.md',
  'sdk/js/README.md',
  'examples/miniprogram/README.md',
  'examples/backend-node/README.md',
  'examples/backend-python/README.md',
];

let gateway;

before(async () => {
  gateway = await Gateway.start();
});

after(() => gateway.close());

const read = (page) => fs.readFileSync(path.join(REPOSITORY, page), 'utf8');

async function inRoom(roomName, user) {
  const platform = client.webPlatform({ WebSocket });
  const call = new client.Conference({ apiURL: gateway.http, platform, token: await gateway.token(user) });
  await call.join({ roomName });
  return call;
}

/** The name that a forge gives a heading. */
const anchor = (heading) => heading.toLowerCase().replace(/[`*]/g, '').replace(/[^\p{L}\p{N}\- ]/gu, '').trim().replace(/ /g, '-');

test('links lead somewhere', () => {
  for (const page of PAGES) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [file, name] = target.split('#');
      const full = file === '' ? path.join(REPOSITORY, page) : path.resolve(REPOSITORY, path.dirname(page), file);
      assert.ok(fs.existsSync(full), `${page}: ${target}`);
      if (!name) continue;
      const anchors = Array.from(fs.readFileSync(full, 'utf8').matchAll(/^#+ (.*)$/gm), ([, heading]) => anchor(heading));
      assert.ok(anchors.includes(name), `${page}: ${target} among ${anchors}`);
    }
  }
});

/** The numbers in the first column of the tables below a heading. */
function numbers(page, heading) {
  const [, section] = page.split(`## ${heading}`);
  const rows = section.split('\n## ')[0].split('\n').filter((line) => line.startsWith('|'));
  return rows.flatMap((row) => row.split('|')[1].match(/-?\d{4,}/g) || []).sort();
}

test('the tables of codes are those of the client', () => {
  const page = read('docs/status-codes.md');
  assert.deepEqual(numbers(page, 'live-pusher'), Object.keys(PUSHER).sort());
  assert.deepEqual(numbers(page, 'live-player'), Object.keys(PLAYER).sort());
  for (const code of Object.keys(PUSHER_ERROR)) assert.ok(page.includes(code));
});

test('every reason of the gateway stands in the table of refusals, with its code', () => {
  const page = read('docs/status-codes.md');
  const api = JSON.parse(read('docs/openapi.json'));
  const words = JSON.stringify(api).match(/\b(?:[a-z]+_full|[a-z]+_(?:invalid|expired|gone|closed|not_found|password|supported|allowed|limited|unavailable))\b/g);
  for (const word of new Set(words)) {
    if (!/^(url_|service_)/.test(word)) assert.ok(page.includes(`\`${word}\``), word);
  }
  for (const [reason, code] of [['network', -9527], ['timeout', -408], ['aborted', -409]]) {
    assert.equal(new client.TidegateError(reason).code, code);
    assert.match(page, new RegExp(`\`${reason}\`.*${code}`));
  }
});

test('every method of emedia.mgr stands in the guide for those who come from emedia', () => {
  const page = read('docs/migrating-from-emedia.md');
  for (const name of Object.getOwnPropertyNames(Manager.prototype).filter((one) => !/^(_|constructor$)/.test(one))) {
    assert.ok(page.includes(name), name);
  }
});

test('both languages of the quick start run the same commands', () => {
  const commands = (page) => Array.from(read(page).matchAll(/```sh\n([^]*?)```/g), ([, text]) => text.replace(/ *#.*$/gm, ''));
  assert.deepEqual(commands('docs/quick-start-miniprogram.zh-CN.md'), commands('docs/quick-start-miniprogram.md'));
});

test('the robot of the quick start is seen in its room', async (t) => {
  const backend = spawn(process.execPath, ['server.mjs'], {
    cwd: path.join(REPOSITORY, 'examples/backend-node'),
    env: Object.assign({}, process.env, { TIDEGATE_APP_KEY: gateway.key, DEMO_LOGINS: '1', PORT: '0' }),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => backend.kill());
  const port = await new Promise((resolve) => {
    backend.stdout.once('data', (chunk) => resolve(String(chunk).trim().split(' ').pop()));
  });
  const host = await inRoom('lunch', 'host');
  const added = next(host, 'streamAdded');
  const script = read('docs/quick-start-miniprogram.md').match(/API=http[^]*?(?=```)/)[0];
  const here = script.replace('http://127.0.0.1:8080', gateway.http).replace('127.0.0.1:3000', `127.0.0.1:${port}`);
  const bash = spawn('bash', ['-c', here.replace('ffmpeg -re', 'exec ffmpeg -nostdin -loglevel error -re')], { stdio: ['ignore', 'ignore', 'inherit'] });
  t.after(() => bash.kill());
  const { stream, member } = await added;
  assert.deepEqual([member.name, stream.video.width, stream.video.height], ['robot', 360, 480]);
  await host.leave();
});

test('the snippet for node runs as it stands', async () => {
  const [, code] = /```js\n([^]*?)```/.exec(read('sdk/js/README.md'));
  const lines = code.replace(/const .* = require.*\n/g, '');
  const logged = [];
  const AsyncFunction = (async () => {}).constructor;
  const run = new AsyncFunction('Conference', 'webPlatform', 'WebSocket', 'apiURL', 'token', 'console', lines);
  const host = await inRoom('lunch', 'host');
  const came = next(host, 'memberJoined');
  const inside = run(client.Conference, client.webPlatform, WebSocket, gateway.http, await gateway.token('anna'), {
    log: (line) => logged.push(line),
  });
  await came;
  // Told to the loop whether its socket is open yet or not.
  await gateway.api('POST', '/v1/rooms/lunch/members', { user: 'guest' });
  await inside;
  assert.deepEqual(logged, ['memberJoined']);
  await host.leave();
});
