'use strict';

// The pages of examples/miniprogram with the backend of examples/backend-node: from the lobby into a call and out
// again.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { Gateway } = require('./support/gateway');
const { later } = require('./support/wait');
const { makeWx } = require('./support/wx');

const EXAMPLES = path.join(__dirname, '../../../examples');
const MINI_PROGRAM = path.join(EXAMPLES, 'miniprogram/miniprogram');

let gateway;
let backend;
let app;
const shown = [];

before(async () => {
  gateway = await Gateway.start();
  backend = spawn(process.execPath, ['server.mjs'], {
    cwd: path.join(EXAMPLES, 'backend-node'),
    env: Object.assign({}, process.env, { TIDEGATE_APP_KEY: gateway.key, TIDEGATE_API_URL: gateway.http, DEMO_LOGINS: '1', PORT: '0' }),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await new Promise((resolve) => backend.stdout.once('data', (chunk) => resolve(String(chunk).trim().split(' ').pop())));
  Object.assign(require(path.join(MINI_PROGRAM, 'config.js')), { apiURL: gateway.http, backendURL: `http://127.0.0.1:${port}` });

  const storage = new Map();
  app = { globalData: { call: null } };
  Object.assign(global, {
    wx: Object.assign(makeWx().wx, {
      getAppBaseInfo: () => ({ language: 'en' }),
      getStorageSync: (key) => storage.get(key),
      setStorageSync: (key, value) => storage.set(key, value),
      setKeepScreenOn: ({ keepScreenOn }) => shown.push(`screen ${keepScreenOn}`),
      showToast: ({ title }) => shown.push(title),
      navigateTo: ({ url }) => shown.push(url),
      navigateBack: () => shown.push('back'),
      reLaunch: ({ url }) => shown.push(url),
    }),
    getApp: () => app,
  });
});

after(async () => {
  backend.kill();
  await gateway.close();
});

/** A page as WeChat makes it; `room` stands for the component on it. */
function page(name, room) {
  let made;
  global.Page = (definition) => {
    made = definition;
  };
  require(path.join(MINI_PROGRAM, 'pages', name, `${name}.js`));
  made.data = Object.assign({}, made.data);
  made.setData = (data) => Object.assign(made.data, data);
  made.selectComponent = () => room;
  return made;
}

const input = (field, value) => ({ currentTarget: { dataset: { field } }, detail: { value } });

test('from the lobby into a room and back', async () => {
  const lobby = page('lobby');
  lobby.onLoad({ room: 'shared' });
  assert.equal(lobby.data.room, 'shared');
  lobby.onEnter();
  assert.deepEqual(shown.splice(0), ['A name and a room are needed']);
  lobby.onInput(input('user', ' anna '));
  lobby.onInput(input('password', 'tide'));
  lobby.onInput(input('cameraOff', true));
  lobby.onEnter();
  assert.deepEqual(shown.splice(0), ['/pages/call/call']);
  assert.match(lobby.onShareAppMessage().path, /room=shared$/);

  const begun = later('the room to begin');
  const call = page('call', { begin: (conference, wanted) => begun.resolve({ conference, wanted }) });
  const loaded = call.onLoad();
  assert.equal(call.data.notice, 'Entering…');
  await loaded;
  const { conference, wanted } = await begun.promise;
  assert.equal(call.data.notice, '');
  assert.deepEqual(wanted, { video: false, audio: true, audience: false });
  assert.deepEqual([conference.self.name, conference.self.nickName, conference.info.roomName], ['anna', 'anna', 'shared']);

  const over = later('the end');
  conference.on('left', over.resolve);
  call.onUnload();
  assert.equal((await over.promise).reason, 0);
  call.onLeft({ detail: { reason: 0 } });
  call.onLeft({ detail: { reason: 12, text: 'You were removed' } });
  assert.equal(call.data.notice, 'You were removed');
  assert.deepEqual(shown.splice(0), ['screen true', 'screen false', 'back']);

  // Somebody else, with a wrong password.
  app.globalData.call = { user: 'boris', target: { roomName: 'shared', password: 'tied' }, wanted: {} };
  await call.onLoad();
  assert.equal(call.data.notice, 'Wrong password');
});

test('a call page that is opened by itself leads to the lobby', async () => {
  app.globalData.call = null;
  delete require.cache[path.join(MINI_PROGRAM, 'pages/call/call.js')];
  shown.splice(0);
  await page('call').onLoad();
  assert.deepEqual(shown, ['/pages/lobby/lobby']);
});
