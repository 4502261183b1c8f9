'use strict';

// What is handed over: files, their syntax, what they need, and that the copies are true.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');
const { after, before, test } = require('node:test');
const acorn = require('acorn');
const WebSocket = require('ws');
const { bundle, EXAMPLE } = require('../tools/bundle');
const { Gateway } = require('./support/gateway');
const { makeWx } = require('./support/wx');

const ROOT = path.join(__dirname, '..');
/** Longer files are two. */
const LINES_MAX = 400;

let gateway;

before(async () => {
  gateway = await Gateway.start();
});

after(() => gateway.close());

function sources(folder = path.join(ROOT, 'src')) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    return entry.isDirectory() ? sources(file) : [file];
  });
}

test('the sources are JavaScript that phones of years ago run, in files that can be read', () => {
  for (const file of sources()) {
    const text = fs.readFileSync(file, 'utf8');
    acorn.parse(text, { ecmaVersion: 2018, sourceType: 'script' });
    assert.ok(text.split('\n').length <= LINES_MAX, file);
  }
});

test('the built files and the copy in the example are those of the sources', () => {
  const files = bundle();
  for (const [name, text] of Object.entries(files)) {
    assert.equal(fs.readFileSync(path.join(ROOT, 'dist', name), 'utf8'), text, `dist/${name}: npm run build`);
  }
  for (const name of ['tidegate.js', 'emedia_for_miniProgram.js']) {
    assert.equal(fs.readFileSync(path.join(EXAMPLE, name), 'utf8'), files[name], `${name} of the example: npm run build`);
  }
});

test('the module and the script export the same, and the types name all of it', async () => {
  const script = require('../dist/tidegate.js');
  const module = await import('../dist/tidegate.mjs');
  const names = Object.keys(script).sort();
  assert.deepEqual(Object.keys(module).filter((name) => name !== 'default').sort(), names);
  const types = fs.readFileSync(path.join(ROOT, 'types/index.d.ts'), 'utf8');
  const typed = Array.from(types.matchAll(/^export (?:const|class|function) (\w+)/gm), ([, name]) => name);
  assert.deepEqual(typed.filter((name) => !['Publication', 'Subscription'].includes(name)).sort(), names);
  const { Conference } = script;
  const members = Object.getOwnPropertyNames(Conference.prototype).filter((name) => !/^(_|constructor$)/.test(name));
  const declared = types.slice(types.indexOf('export class Conference '), types.indexOf('export interface Ticket'));
  for (const name of members) assert.match(declared, new RegExp(`\\b${name}\\b`), `Conference.${name} has a type`);
});

test('one file and a wx are all that a mini program needs', async () => {
  const { wx } = makeWx();
  const module = { exports: {} };
  const context = vm.createContext({ wx, module, setTimeout, clearTimeout });
  vm.runInContext(bundle()['tidegate.js'], context);
  const { emedia } = module.exports;
  emedia.config({ apiURL: gateway.http, token: await gateway.token('anna') });
  const confr = await emedia.mgr.joinRoom({ roomName: 'bare', config: {} });
  assert.equal(confr.isCreator, true);
  await emedia.mgr.exitConference(confr.confrId);
});

test('in node it needs a WebSocket, and says so', async () => {
  const { Conference, webPlatform } = require('..');
  if (typeof globalThis.WebSocket === 'undefined') assert.throws(() => webPlatform(), /no fetch or no WebSocket/);
  const platform = webPlatform({ WebSocket });
  const call = new Conference({ apiURL: gateway.http, platform, token: await gateway.token('anna') });
  await call.join({ roomName: 'node' });
  const changed = new Promise((resolve) => call.on('memberChanged', resolve));
  await call.update({ nickName: 'Anna' });
  assert.deepEqual([(await changed).member.nickName, (await changed).isSelf], ['Anna', true]);
  await call.leave();
});
