'use strict';

// The components of examples/miniprogram, rendered, in a real call with real media.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { Conference, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { livePusher, stopMedia } = require('./support/media');
const { openSimulator } = require('./support/simulator');
const { inState, later, next } = require('./support/wait');
const { makeWx } = require('./support/wx');

const MINI_PROGRAM = path.join(__dirname, '../../../examples/miniprogram/miniprogram');

let gateway;
let simulator;
const calls = [];

before(async () => {
  gateway = await Gateway.start({ TIDEGATE_PUBLISHER_GRACE_MS: '300' });
  simulator = openSimulator(makeWx().wx);
});

after(async () => {
  simulator.stop();
  stopMedia();
  for (const call of calls) await call.leave().catch(() => {});
  await gateway.close();
});

async function call(user, target, Face = Conference) {
  const joined = new Face({ apiURL: gateway.http, platform: wxPlatform(makeWx().wx), token: await gateway.token(user) });
  calls.push(joined);
  await joined.join(target);
  return joined;
}

/** When the data of the component are as wanted. */
function shows(room, what, fits) {
  const { promise, resolve } = later(what);
  const { instance } = room;
  const render = instance._render;
  const look = () => {
    if (!fits(instance.data)) return;
    instance._render = render;
    resolve(instance.data);
  };
  instance._render = function rendered() {
    render.call(instance);
    look();
  };
  look();
  return promise;
}

/** A room on a page, in a conference where `boss` is ADMIN already. */
async function opened(wanted, role) {
  const { confrId, ticket } = await gateway.api('POST', '/v1/conferences', { password: 'tide', user: 'boss' });
  const boss = await call('boss', { confrId, ticket });
  const target = { confrId, ticket: (await gateway.api('POST', `/v1/conferences/${confrId}/tickets`, { user: 'anna', role })).ticket, nickName: 'Anna' };
  const anna = await call('anna', target);
  const room = simulator.open('conference-room');
  const left = later('the event left');
  room.addEventListener('left', ({ detail }) => left.resolve(detail));
  room.instance.begin(anna, wanted);
  return { boss, anna, room, left, confrId };
}

/** A finger on the first such node, until `handler` of the component has done what it does. */
async function tap(room, selector, handler) {
  const node = room.querySelector(selector);
  assert.ok(node, `there is a ${selector}`);
  const { promise, resolve } = later(`the tap on ${selector}`);
  const { instance } = room;
  const handle = instance[handler];
  instance[handler] = (event) => resolve(handle.call(instance, event));
  node.dispatchEvent('tap');
  await promise;
  instance[handler] = handle;
}

test('two in a room: own picture, the picture of the other, buttons, and a kick', async () => {
  const { boss, anna, room, left } = await opened({ video: true, audio: true }, 3);
  const shown = await boss.publish({ rtcId: 'RTC1' });
  livePusher().drive(shown);

  const both = await shows(room, 'two pictures that move', ({ tiles }) => tiles.length === 2 && tiles.every(({ hint }) => hint === ''));
  assert.deepEqual(both.tiles.map(({ name, isSelf, video, audio }) => [name, isSelf, video, audio]), [
    ['Anna (me)', true, true, true],
    ['boss', false, true, true],
  ]);
  assert.equal(both.columns, 2);
  assert.deepEqual([both.state, both.banner], ['joined', '']);
  assert.equal(room.querySelectorAll('.tile').length, 2);
  assert.equal(room.querySelector('.name').dom.textContent.trim(), 'Anna (me)');
  assert.equal(room.querySelectorAll('.end').length, 0, 'no ADMIN, no end');

  await tap(room, '.camera', 'onCamera');
  assert.equal(room.data.tiles[0].video, false);
  assert.match(room.querySelector('.cover').dom.textContent, /Anna/);
  await tap(room, '.mic', 'onMic');
  assert.equal(room.data.me.audio, false);
  await tap(room, '.turn', 'onTurn');
  assert.deepEqual(simulator.log, ['switchCamera']);

  const muted = shows(room, 'the mute of the ADMIN', ({ tiles }) => tiles[1] && !tiles[1].audio);
  await boss.mute(['boss'], { audio: true });
  await muted;

  await boss.kick(['anna']);
  assert.deepEqual(await left.promise, { reason: 12, failed: null, text: 'You were removed' });
  assert.equal(anna.state, 'left');
  assert.ok(Array.from(simulator.media).every((ffmpeg) => !ffmpeg.isRunning), 'nothing pushes or plays any more');
});

test('an audience member watches, asks to speak, and speaks when an ADMIN lets it', async () => {
  const { boss, anna, room, left } = await opened({}, 1);
  assert.equal(room.data.me.mayPublish, false);
  assert.equal(room.querySelectorAll('.request').length, 1);
  const asked = next(boss, 'message');
  await tap(room, '.request', 'onAsk');
  assert.equal((await asked).from.name, 'anna');
  assert.equal(room.data.hasAsked, true);
  const speaks = shows(room, 'the own picture', ({ me, tiles }) => me.publishes && tiles[0].hint === '');
  await boss.setRole(['anna'], 3);
  await speaks;
  const lowered = shows(room, 'no own picture', ({ me }) => !me.publishes);
  await boss.setRole(['anna'], 1);
  await lowered;
  await tap(room, '.hang-up', 'onHangUp');
  assert.equal((await left.promise).reason, 0);
  assert.equal(anna.state, 'left');
});

test('an ADMIN manages the people', async () => {
  const { boss, anna, room, left } = await opened({ audience: true }, 7);
  assert.equal(room.data.me.isAdmin, true);
  await tap(room, '.list', 'onPeople');
  assert.deepEqual(room.data.members.map(({ name, canManage }) => [name, canManage]), [['boss', true], ['Anna', false]]);
  assert.equal(room.querySelectorAll('.kick').length, 1);
  const lowered = shows(room, 'the lower role', ({ members }) => members[0].role === 1);
  await tap(room, '.small.audience', 'onRole');
  await lowered;
  const asks = shows(room, 'who asks', ({ asks: names }) => names.includes('boss'));
  await boss.send({ kind: 'tidegate.askToSpeak' });
  await asks;
  assert.equal(room.querySelectorAll('.ask').length, 1);
  const raised = shows(room, 'the higher role', ({ members, asks: names }) => members[0].role === 3 && names.length === 0);
  await tap(room, '.ask .small', 'onRole');
  await raised;
  const trouble = later('the event trouble');
  room.addEventListener('trouble', ({ detail }) => trouble.resolve(detail));
  await gateway.api('PATCH', `/v1/conferences/${anna.confrId}`, { limits: { maxVideoCount: 0 } });
  await tap(room, '.speak', 'onSpeak');
  assert.equal((await trouble.promise).error.reason, 'videos_full');
  const gone = shows(room, 'one person', ({ members }) => members.length === 1);
  await tap(room, '.kick', 'onKick');
  await gone;
  await tap(room, '.end', 'onEnd');
  assert.equal((await left.promise).reason, 11);
});

test('there are as many pictures as places, and a free place is taken', async () => {
  const { boss, anna, room, left, confrId } = await opened({ audience: true }, 3);
  room.setData({ maxTiles: 1 });
  const carol = await call('carol', { confrId, password: 'tide' });
  const published = [];
  for (const one of [boss, carol]) {
    const added = next(anna, 'streamAdded');
    const own = await one.publish({ rtcId: 'RTC1' });
    published.push(own);
    livePusher().drive(own);
    await inState(own, 'live');
    await added;
  }
  await shows(room, 'one picture', ({ tiles }) => tiles.length === 1 && tiles[0].name === 'boss');
  const other = shows(room, 'the other picture', ({ tiles }) => tiles.length === 1 && tiles[0].name === 'carol');
  // It says so itself: an ADMIN who leaves would change roles as well.
  await published[0].stop();
  await other;
  await published[1].stop();
  await tap(room, '.hang-up', 'onHangUp');
  await left.promise;
});

test('trouble with the own devices leads to the settings, and weak networks are said', async () => {
  const { room, left } = await opened({}, 3);
  await shows(room, 'the own picture', ({ tiles }) => tiles.length === 1 && tiles[0].hint === '');
  const pusher = room.querySelector('#own').instance;
  pusher.onStateChange({ detail: { code: 1101 } });
  assert.equal(room.data.tiles[0].hint, 'Weak network');
  pusher.onStateChange({ detail: { code: 1102 } });
  assert.match(room.data.tiles[0].hint, /reconnecting/);
  pusher.onError({ detail: { errCode: 10001 } });
  assert.match(room.data.tiles[0].hint, /No camera/);
  simulator.log.length = 0;
  await tap(room, '.hint', 'onHint');
  assert.deepEqual(simulator.log, ['openSetting']);
  await shows(room, 'the picture again', ({ tiles }) => tiles[0].hint === '');
  await tap(room, '.hang-up', 'onHangUp');
  await left.promise;
});

test('the grid has one column for one, two for four, three for nine', () => {
  const { columns } = simulator.module('components/conference-room/view.js');
  assert.deepEqual([0, 1, 2, 4, 5, 9].map(columns), [1, 1, 2, 2, 3, 3]);
});

test('texts stand in both languages, and files are where app.json and the components say', () => {
  const { textsFor } = simulator.module('lib/texts.js');
  const shape = (value) => (typeof value === 'object' ? Object.entries(value).map(([key, one]) => [key, shape(one)]) : typeof value);
  assert.deepEqual(shape(textsFor('zh_CN')), shape(textsFor('en')));
  const { pages } = JSON.parse(fs.readFileSync(path.join(MINI_PROGRAM, 'app.json'), 'utf8'));
  for (const page of pages) {
    for (const kind of ['js', 'json', 'wxml', 'wxss']) assert.ok(fs.existsSync(path.join(MINI_PROGRAM, `${page}.${kind}`)), `${page}.${kind}`);
    const { usingComponents = {} } = JSON.parse(fs.readFileSync(path.join(MINI_PROGRAM, `${page}.json`), 'utf8'));
    for (const component of Object.values(usingComponents)) {
      assert.ok(fs.existsSync(path.join(MINI_PROGRAM, path.dirname(page), `${component}.wxml`)), component);
    }
  }
});
