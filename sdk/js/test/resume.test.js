'use strict';

// Networks that go away, gateways that restart, phones in a pocket.

const assert = require('node:assert/strict');
const { after, before, beforeEach, test } = require('node:test');
const { Conference, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { livePusher, livePlayer, stopMedia } = require('./support/media');
const { Proxy } = require('./support/proxy');
const { inState, next } = require('./support/wait');
const { makeWx } = require('./support/wx');

let gateway;
let proxy;
const calls = [];

before(async () => {
  // The gateway looks for signs of life once a second: a socket that opens and ends in between leaves a member its
  // time as a newcomer.
  gateway = await Gateway.start({
    TIDEGATE_FIRST_CONTACT_MS: '3000',
    TIDEGATE_MEMBER_TIMEOUT_MS: '3000',
    TIDEGATE_PUBLISHER_GRACE_MS: '1000',
  });
  proxy = await Proxy.to(gateway.http);
});

beforeEach(() => proxy.open());

after(async () => {
  stopMedia();
  for (const call of calls) await call.leave().catch(() => {});
  await proxy.close();
  await gateway.close();
});

async function joined(user, target, more, tweak = () => {}) {
  const { wx, app } = makeWx();
  const platform = Object.assign({}, wxPlatform(wx));
  tweak(platform);
  const options = Object.assign({ apiURL: proxy.url, platform, token: await gateway.token(user) }, more);
  const call = new Conference(options);
  calls.push(call);
  await call.join(target);
  await opened(call);
  return { call, app, platform };
}

/** Until the socket is open: what the gateway tells then is not missed. */
async function opened(call) {
  if (call._stay._feed.state === 'open') return;
  await new Promise((resolve) => {
    const told = call._stay._handlers.socket;
    call._stay._handlers.socket = (isOpen) => {
      told(isOpen);
      if (isOpen) resolve();
    };
  });
}

/** Conferences of the backend, whose members go directly to the gateway. */
async function made() {
  const { confrId } = await gateway.api('POST', '/v1/conferences', { password: 'tide' });
  return { confrId, password: 'tide' };
}

test('a socket that is cut goes on where it was: nothing is missed or told twice', async () => {
  const target = await made();
  const { call, app } = await joined('anna', target);
  const told = [];
  call.on('memberJoined', ({ member }) => told.push(member.name));
  const states = [];
  call.on('stateChanged', ({ state }) => states.push(state));
  await gateway.api('POST', `/v1/conferences/${target.confrId}/members`, { user: 'one' });
  if (!told.includes('one')) await next(call, 'memberJoined');
  proxy.shut();
  await next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  await gateway.api('POST', `/v1/conferences/${target.confrId}/members`, { user: 'two' });
  const two = next(call, 'memberJoined');
  proxy.open();
  app.network(true);
  assert.equal((await two).member.name, 'two');
  assert.deepEqual(told, ['one', 'two']);
  assert.deepEqual(states, ['reconnecting', 'joined']);
  assert.match(app.log.filter(({ method }) => method === 'SOCKET').pop().url, /after=\d+/);
  await call.leave();
});

test('events that the gateway no longer has come as a snapshot, told as the changes that lead to it', async () => {
  const target = await made();
  const { call } = await joined('anna', target);
  const told = [];
  for (const name of ['memberJoined', 'memberExited']) call.on(name, ({ member }) => told.push(`${name} ${member.name}`));
  await gateway.api('POST', `/v1/conferences/${target.confrId}/members`, { user: 'goes' });
  if (told.length === 0) await next(call, 'memberJoined');
  proxy.shut();
  await next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  await gateway.api('POST', `/v1/conferences/${target.confrId}/kick`, { memberNames: ['goes'] });
  await gateway.api('POST', `/v1/conferences/${target.confrId}/members`, { user: 'comes' });
  // From a number that is not there: the gateway answers with a snapshot.
  call._stay._feed._seq = 1_000_000;
  const comes = next(call, 'memberJoined');
  proxy.open();
  call.wake();
  assert.equal((await comes).member.name, 'comes');
  assert.deepEqual(told, ['memberJoined goes', 'memberExited goes', 'memberJoined comes']);
  await call.leave();
});

test('a member that was away for too long joins again, with its picture and those that it watches', async () => {
  const target = await made();
  const { call: boris } = await joined('boris', target, { apiURL: gateway.http });
  const shown = await boris.publish({ rtcId: 'RTC1' });
  const { call: anna, platform } = await joined('anna', target);
  const own = await anna.publish({ rtcId: 'RTC1' });
  const watched = await anna.subscribe(shown.stream.id);
  // Only the pusher of the other sends: the one away gives no sign of life.
  livePusher().drive(shown);
  await inState(shown, 'live');
  const firstUrls = [own.url, watched.url];
  const firstId = anna.self.id;

  const exited = next(boris, 'memberExited');
  proxy.shut();
  assert.deepEqual([(await exited).member.name, (await exited).reason], ['anna', 1]);
  const rejoined = next(anna, 'rejoined');
  const back = next(boris, 'memberJoined');
  proxy.open();
  anna.wake();
  assert.notEqual((await rejoined).member.id, firstId);
  assert.equal((await back).member.name, 'anna');
  assert.equal(anna.self.id, (await rejoined).member.id);
  assert.ok(!anna.members.has(firstId));
  assert.ok(anna.streams.has(shown.stream.id));

  if (own.url === firstUrls[0]) await next(own, 'start');
  if (watched.url === firstUrls[1]) await next(watched, 'start');
  assert.match(own.stream.id, new RegExp(anna.self.id));
  const pusher = livePusher().drive(own);
  await inState(own, 'live');
  const player = livePlayer().drive(watched);
  await inState(watched, 'playing');
  pusher.stop();
  player.stop();
  assert.equal(platform.name, 'wx');
  await anna.leave();
  await boris.leave();
});

test('who was removed while it was away does not come back', async () => {
  const target = await made();
  const { call } = await joined('anna', target);
  proxy.shut();
  await next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  await gateway.api('POST', `/v1/conferences/${target.confrId}/kick`, { memberNames: ['anna'] });
  const left = next(call, 'left');
  proxy.open();
  call.wake();
  assert.equal((await left).reason, 12);
});

test('without a gateway the call is given up in the end', async () => {
  const target = await made();
  const { call } = await joined('anna', target, { giveUpMs: 300 });
  const own = await call.publish({});
  const left = next(call, 'left');
  proxy.shut();
  assert.deepEqual(await left, { reason: 4, failed: -9527 });
  assert.equal(own.state.name, 'stopped');
  proxy.open();
});

test('a call in the background is not given up until it is seen again', async () => {
  const target = await made();
  const giveUps = [];
  const { call, app } = await joined('anna', target, { giveUpMs: 1234 }, (platform) => {
    const { setTimer } = platform;
    platform.setTimer = (run, ms) => {
      if (ms !== 1234) return setTimer(run, ms);
      giveUps.push(run);
      return null;
    };
  });
  app.hide();
  proxy.shut();
  await next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  assert.equal(giveUps.length, 0);
  app.show();
  assert.ok(giveUps.length > 0);
  const left = next(call, 'left');
  giveUps.pop()();
  assert.equal((await left).failed, -9527);
});

test('while no socket opens, heartbeats hold the place', async () => {
  const target = await made();
  const { call, platform } = await joined('anna', target);
  const beats = [];
  const { request, setTimer, openSocket } = platform;
  platform.request = (wanted) => {
    if (/heartbeat$/.test(wanted.url)) beats.push(wanted.url);
    return request(wanted);
  };
  // Sockets do not get through, requests do; the heart beats often enough for this gateway's patience.
  platform.openSocket = (wanted, handlers) => openSocket(Object.assign({}, wanted, { url: 'ws://127.0.0.1:9/' }), handlers);
  platform.setTimer = (run, ms) => setTimer(run, ms === 7000 ? 300 : ms);
  const gone = [];
  call.on('rejoined', () => gone.push('rejoined'));
  proxy.cut();
  await next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  await new Promise((resolve) => {
    platform.request = (wanted) => {
      if (/heartbeat$/.test(wanted.url) && beats.push(wanted.url) === 16) resolve();
      return request(wanted);
    };
  });
  // Sixteen beats are longer than the gateway waits for a silent member.
  const { members } = await gateway.api('GET', `/v1/conferences/${target.confrId}`);
  assert.deepEqual(members.map(({ id }) => id), [call.self.id]);
  platform.openSocket = openSocket;
  const back = next(call, 'stateChanged', ({ state }) => state === 'joined');
  call.wake();
  await back;
  assert.deepEqual(gone, []);
  await call.leave();
});

test('a page that comes back after a while takes a new socket, and one that blinked does not', async () => {
  const target = await made();
  let now = 0;
  const { call, app } = await joined('anna', target, {}, (platform) => {
    platform.now = () => now;
  });
  const sockets = () => app.log.filter(({ method }) => method === 'SOCKET').length;
  const atFirst = sockets();
  app.hide();
  now += 4999;
  app.show();
  assert.equal(sockets(), atFirst);
  app.hide();
  now += 5000;
  app.show();
  assert.equal(sockets(), atFirst + 1);
  await call.leave();
});

test('a gateway that restarts finds its members again', async () => {
  const target = await made();
  const { call } = await joined('anna', target);
  const states = [];
  call.on('stateChanged', ({ state }) => states.push(state));
  const away = next(call, 'stateChanged', ({ state }) => state === 'reconnecting');
  await gateway.stop();
  await away;
  const back = next(call, 'stateChanged', ({ state }) => state === 'joined');
  await gateway.serve();
  call.wake();
  await back;
  assert.deepEqual(states, ['reconnecting', 'joined']);
  await call.leave();
});

test('a newer client with the same token ends the older one', async () => {
  const target = await made();
  const { call } = await joined('anna', target);
  const left = next(call, 'left');
  await gateway.api('POST', `/v1/conferences/${target.confrId}/members`, { user: 'anna' });
  assert.equal((await left).reason, 10);
});
