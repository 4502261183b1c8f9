'use strict';

// live-pusher and live-player are ffmpeg here; the SDK drives them by their codes, as on a page.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Conference, Role, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { livePlayer, livePusher, stopMedia } = require('./support/media');
const { inState, next } = require('./support/wait');
const { makeWx } = require('./support/wx');

let gateway;
const calls = [];

before(async () => {
  gateway = await Gateway.start({ TIDEGATE_PUBLISHER_GRACE_MS: '1000', TIDEGATE_PLAY_WAIT_MS: '1000' });
});

after(async () => {
  stopMedia();
  for (const call of calls) await call.leave().catch(() => {});
  await gateway.close();
});

async function joined(user, target) {
  const { wx, app } = makeWx();
  const call = new Conference({ apiURL: gateway.http, platform: wxPlatform(wx), token: await gateway.token(user) });
  calls.push(call);
  await call.join(target);
  return { call, app };
}

async function pair() {
  const { confrId, ticket } = await gateway.api('POST', '/v1/conferences', { password: 'tide', user: 'boss' });
  const { call: boss, app: bossApp } = await joined('boss', { confrId, ticket });
  const { call: anna, app: annaApp } = await joined('anna', { confrId, password: 'tide' });
  return { confrId, boss, bossApp, anna, annaApp };
}

/** `boss` publishes and `anna` watches, both flowing. */
async function flowing() {
  const both = await pair();
  const shown = await both.boss.publish({ rtcId: 'RTC1' });
  const added = next(both.anna, 'streamAdded');
  const pusher = livePusher().drive(shown);
  await inState(shown, 'live');
  const watched = await both.anna.subscribe((await added).stream.id);
  const player = livePlayer().drive(watched);
  await inState(watched, 'playing');
  return Object.assign(both, { shown, pusher, watched, player });
}

async function end({ boss, anna, pusher, player }) {
  if (pusher) pusher.stop();
  if (player) player.stop();
  await anna.leave();
  await boss.leave();
}

test('a publisher and a viewer whose network goes away come back with new URLs', async () => {
  const both = await flowing();
  const { shown, pusher, watched, player } = both;
  const urls = [shown.url, watched.url];
  pusher.cut();
  await inState(shown, 'refreshing');
  await inState(shown, 'live');
  assert.equal(pusher.starts.length, 2);
  assert.notEqual(shown.url, urls[0]);

  player.cut();
  await next(watched, 'change', ({ state }) => state.name === 'refreshing');
  await inState(watched, 'playing');
  assert.equal(player.starts.length, 2);
  assert.notEqual(watched.url, urls[1]);
  await end(both);
});

test('a kick stops the live-pusher and the live-player at once, and nothing starts them again', async () => {
  const both = await flowing();
  const { boss, anna } = both;
  const own = await anna.publish({});
  const pusher = livePusher().drive(own);
  await inState(own, 'live');
  const left = next(anna, 'left');
  await boss.kick(['anna']);
  assert.equal((await left).reason, 12);
  assert.deepEqual([own.state, both.watched.state], [{ name: 'stopped', reason: 'left' }, { name: 'stopped', reason: 'left' }]);
  assert.ok(!pusher.isRunning && !both.player.isRunning);
  for (const code of [3004, 1102, -1307]) own.handleStateChange(code);
  for (const code of [3004, 2103, -2301]) both.watched.handleStateChange(code);
  assert.equal(own.state.name, 'stopped');
  assert.deepEqual([pusher.starts.length, both.player.starts.length], [1, 1]);
  await end(both);
});

test('a demotion ends publishing and leaves watching alone', async () => {
  const both = await flowing();
  const { boss, anna } = both;
  const own = await anna.publish({});
  const pusher = livePusher().drive(own);
  await inState(own, 'live');
  await boss.setRole(['anna'], Role.AUDIENCE);
  await inState(own, 'stopped');
  assert.equal(own.state.reason, 'not_allowed');
  assert.ok(!pusher.isRunning);
  assert.equal(anna.publications.size, 0);
  assert.equal(both.watched.state.name, 'playing');
  assert.ok(both.player.isRunning);
  const raised = next(anna, 'roleChanged');
  await boss.setRole(['anna'], Role.TALKER);
  await raised;
  const again = await anna.publish({});
  const second = livePusher().drive(again);
  await inState(again, 'live');
  second.stop();
  await end(both);
});

test('a stream that an ADMIN takes away is not brought back by its live-pusher', async () => {
  const both = await flowing();
  const { boss, anna } = both;
  const own = await anna.publish({});
  const pusher = livePusher().drive(own);
  const added = next(boss, 'streamAdded', ({ stream }) => stream.id === own.stream.id);
  await inState(own, 'live');
  await added;
  await gateway.api('DELETE', `/v1/conferences/${both.confrId}/streams/${own.stream.id}`);
  await inState(own, 'stopped');
  assert.equal(own.state.reason, 'deleted');
  assert.ok(!pusher.isRunning);
  await end(both);
});

test('a viewer waits through a publisher that is gone, and plays again when it is back', async () => {
  const both = await flowing();
  const { anna, pusher, player, shown, watched } = both;
  const removed = next(anna, 'streamRemoved');
  pusher.stop();
  await removed;
  assert.equal(watched.state.name, 'waiting');
  assert.ok(!player.isRunning);
  pusher.start();
  await inState(watched, 'playing');
  assert.equal(shown.stream.id, watched.streamId);
  await end(both);
});

test('pictures without a place are said to be held back', async () => {
  const { boss, anna, confrId } = await pair();
  await gateway.api('PATCH', `/v1/conferences/${confrId}`, { limits: { maxVideoCount: 0 } });
  await assert.rejects(anna.publish({ rtcId: 'RTC1' }), { reason: 'videos_full', code: -524 });
  const own = await anna.publish({ rtcId: 'RTC1', video: false });
  assert.equal(own.video, false);
  // The camera is on all the same.
  const pusher = livePusher().drive(own);
  await next(own, 'change', () => own.refused === 'videos_full');
  await end({ boss, anna, pusher });
});

test('turning sound off reaches the others where the gateway takes it from wx, and the own component always', async () => {
  const both = await flowing();
  const { shown, bossApp, watched } = both;
  const isTold = await shown.setMedia({ audio: false });
  const { method, header } = bossApp.log[bossApp.log.length - 1];
  assert.deepEqual([method, header['x-http-method-override']], ['POST', 'PATCH']);
  assert.deepEqual([shown.audio, shown.video], [false, true]);
  if (isTold && watched.stream.aoff !== 1) await next(watched, 'change', () => watched.stream.aoff === 1);
  await end(both);
});

test('turning sound off by PATCH, as browsers and node do, reaches the others', async () => {
  const both = await flowing();
  const { boss, shown, watched } = both;
  boss._platform.methods = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']);
  const { request } = boss._platform;
  boss._platform.request = async (wanted) => {
    if (wanted.method !== 'PATCH') return request(wanted);
    const answer = await fetch(wanted.url, { method: 'PATCH', headers: wanted.headers, body: JSON.stringify(wanted.body) });
    return { status: answer.status, headers: {}, body: await answer.json() };
  };
  const told = next(watched, 'change', () => watched.stream.aoff === 1);
  assert.equal(await shown.setMedia({ audio: false }), true);
  await told;
  assert.equal(shown.stream.aoff, 1);
  await end(both);
});

test('a page that is hidden and seen again starts what WeChat took away', async () => {
  const both = await flowing();
  const { shown, pusher, watched, player, bossApp, annaApp } = both;
  for (const app of [bossApp, annaApp]) app.hide();
  shown.handleStateChange(5000);
  watched.handleStateChange(6000);
  assert.deepEqual([shown.state.name, watched.state.name], ['suspended', 'suspended']);
  for (const app of [bossApp, annaApp]) app.show();
  await inState(shown, 'live');
  await inState(watched, 'playing');
  assert.deepEqual([pusher.starts.length, player.starts.length], [2, 2]);

  // A phone call ends.
  shown.handleStateChange(5001);
  bossApp.phoneCall(true);
  bossApp.phoneCall(false);
  await inState(shown, 'live');
  assert.equal(pusher.starts.length, 3);
  await end(both);
});

test('what is asked for twice at once is one', async () => {
  const { boss, anna } = await pair();
  const [one, other] = await Promise.all([boss.publish({ rtcId: 'RTC1' }), boss.publish({ rtcId: 'RTC1' })]);
  assert.equal(one, other);
  const asked = await Promise.all([anna.subscribe(one.stream.id), anna.subscribe(one.stream.id)]);
  assert.equal(asked[0], asked[1]);
  asked[0].close();
  assert.equal(anna.subscriptions.size, 0);
  const late = anna.subscribe(one.stream.id);
  const refused = assert.rejects(late, ({ reason }) => ['aborted', 'member_gone'].includes(reason));
  await anna.leave();
  await refused;
  assert.equal(anna.subscriptions.size, 0);
  await end({ boss, anna });
});

test('a user that refuses the camera is told so, and may try again', async () => {
  const { boss, anna } = await pair();
  const own = await anna.publish({});
  own.handleError({ detail: { errCode: 10001 } });
  assert.deepEqual(own.state, { name: 'failed', part: 'camera', reason: 'device' });
  const before = own.url;
  own.retry();
  await next(own, 'start');
  assert.notEqual(own.url, before);
  own.handleStateChange(1101);
  assert.equal(own.weak, true);
  await own.stop();
  await end({ boss, anna });
});
