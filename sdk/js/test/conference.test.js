'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Conference, Role, TidegateError, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { push, stopMedia } = require('./support/media');
const { next } = require('./support/wait');
const { makeWx } = require('./support/wx');

let gateway;
const calls = [];

before(async () => {
  gateway = await Gateway.start();
});

after(async () => {
  stopMedia();
  for (const call of calls) await call.leave();
  await gateway.close();
});

async function client(user, more) {
  const { wx, app } = makeWx();
  const options = Object.assign({ apiURL: gateway.http, platform: wxPlatform(wx), token: await gateway.token(user) }, more);
  const call = new Conference(options);
  calls.push(call);
  return { call, app, options };
}

/** A conference with an ADMIN inside. */
async function hosted(settings) {
  const { call, app, options } = await client('boss');
  const made = await Conference.create(options, Object.assign({ password: 'tide' }, settings));
  await call.join({ confrId: made.confrId, ticket: made.ticket, nickName: 'The boss' });
  return { boss: call, app, made, target: { confrId: made.confrId, password: 'tide' } };
}

async function guest(target, user) {
  const { call, app } = await client(user);
  await call.join(target);
  return { call, app };
}

test('a call from inside: who is there, roles, names, messages, and the end', async () => {
  const { boss, target } = await hosted();
  assert.equal(boss.state, 'joined');
  assert.equal(boss.role, Role.ADMIN);
  assert.equal(boss.self.nickName, 'The boss');

  const came = next(boss, 'memberJoined');
  const { call: anna } = await guest(target, 'anna');
  assert.equal((await came).member.name, 'anna');
  assert.deepEqual(Array.from(anna.members.values(), ({ name }) => name), ['boss', 'anna']);
  assert.equal(anna.role, Role.TALKER);

  const lowered = next(anna, 'roleChanged', ({ isSelf }) => isSelf);
  const seen = next(boss, 'roleChanged');
  assert.deepEqual(await boss.setRole(['anna'], Role.AUDIENCE), { changed: ['anna'] });
  assert.equal((await lowered).role, Role.AUDIENCE);
  assert.deepEqual([(await seen).member.name, (await seen).isSelf], ['anna', false]);
  assert.equal(anna.role, Role.AUDIENCE);
  assert.equal(anna.roleToken, (await lowered).roleToken, 'the fresh token is used from now on');

  const said = next(anna, 'message');
  await boss.send({ text: 'welcome' }, { to: [anna.self.id] });
  assert.deepEqual([(await said).from.name, (await said).body], ['boss', { text: 'welcome' }]);

  const ended = next(anna, 'left');
  await boss.end();
  assert.deepEqual(await ended, { reason: 11, failed: null });
  assert.equal(anna.state, 'left');
  await assert.rejects(anna.send('hello?'), { reason: 'not_joined' });
  await assert.rejects(anna.join(target), { reason: 'invalid_request' });
});

test('a loop over the events ends with the call', async () => {
  const { boss, target } = await hosted();
  const told = [];
  const loop = (async () => {
    for await (const event of boss.events()) told.push(event.type);
  })();
  const { call: anna } = await guest(target, 'anna');
  if (!boss.members.has(anna.self.id)) await next(boss, 'memberJoined');
  const out = next(boss, 'memberExited');
  await anna.leave();
  await out;
  await boss.leave();
  await loop;
  assert.deepEqual(told, ['memberJoined', 'memberExited', 'stateChanged', 'left']);
});

test('streams are told while their media flows, and their owner turns them off and on', async () => {
  const { boss, target } = await hosted();
  const { call: anna, app } = await guest(target, 'anna');
  const added = next(anna, 'streamAdded');
  const own = await boss.publish({ rtcId: 'RTC1' });
  const pushed = push(own.url);
  const { stream, member } = await added;
  assert.equal(member.name, 'boss');
  assert.deepEqual(Array.from(anna.streams.keys()), [own.stream.id]);
  assert.equal(stream.video.codec, 'h264');

  const watched = await anna.subscribe(stream.id);
  assert.match(watched.data.rtmp, /^rtmp:/);
  assert.match(watched.data.flv, /^http:.*\.flv/);

  const held = next(anna, 'mediaChanged', (change) => change.stream.owner.muted.audio);
  await boss.mute(['boss'], { audio: true });
  assert.equal((await held).stream.voff, 0);
  assert.equal(watched.stream.owner.muted.audio, true);
  assert.equal(anna.members.get(boss.self.id).muted.audio, true);
  await boss.mute(['boss'], { audio: false });

  // wx.request has no PATCH: asked as a POST that says so.
  const isTold = await own.setMedia({ video: false });
  const asked = app.log.concat().pop();
  assert.ok(asked);
  assert.equal(own.video, false);
  if (isTold) assert.equal(own.stream.voff, 1);
  pushed.stop();
  await own.stop();
  assert.equal(boss.publications.size, 0);
});

test('what is refused is an error with reason, code and status', async () => {
  const { target, made } = await hosted({ limits: { maxTalkerCount: 1 } });
  const { call } = await client('late');
  await assert.rejects(call.join(target), (error) => {
    assert.ok(error instanceof TidegateError);
    assert.deepEqual([error.reason, error.code, error.status, error.isPassing], ['talkers_full', -523, 409, false]);
    assert.ok(error.requestId);
    return true;
  });
  assert.equal(call.state, 'idle', 'another try is possible');
  await assert.rejects(call.join({ confrId: made.confrId, password: 'tied' }), { code: -508 });
  await assert.rejects(call.join({}), { reason: 'invalid_request' });
  assert.throws(() => new Conference({ apiURL: 'rtc.example.com' }), { reason: 'invalid_request' });

  const { call: nowhere } = await client('nobody', { apiURL: 'http://127.0.0.1:9' });
  // Nothing listens there, and no repeat helps.
  nowhere._platform.setTimer = (run) => setTimeout(run, 0);
  await assert.rejects(nowhere.join(target), { reason: 'network', code: -9527, status: 0 });
});

test('a user token that has run out is asked for again, and so is a ticket', async () => {
  const { made, target } = await hosted();
  const asked = [];
  const { call } = await client('anna', {
    token: 'ey.stale.token',
    getToken: async () => {
      asked.push('token');
      return gateway.token('anna');
    },
  });
  await call.join(target);
  assert.deepEqual(asked, ['token']);

  const { call: boris } = await client('boris');
  await boris.join({
    confrId: made.confrId,
    ticket: 'ey.stale.ticket',
    getTicket: async (confrId) => {
      asked.push(confrId);
      return (await gateway.api('POST', `/v1/conferences/${confrId}/tickets`, { user: 'boris' })).ticket;
    },
  });
  assert.deepEqual(asked, ['token', made.confrId]);
  assert.equal(boris.self.name, 'boris');
});

test('whoever leaves while it joins is not inside afterwards', async () => {
  const { boss, target } = await hosted();
  const { call } = await client('hasty');
  const joining = call.join(target);
  await call.leave();
  await assert.rejects(joining, { reason: 'aborted' });
  assert.equal(call.state, 'left');
  const { members } = await gateway.api('GET', `/v1/conferences/${target.confrId}`);
  assert.deepEqual(members.map(({ name }) => name), ['boss']);
  await boss.leave();
});

test('the audience of a LIVE conference is out of sight', async () => {
  const { boss, target } = await hosted({ confrType: 12, memDefaultRole: 3 });
  const { call: anna } = await guest(target, 'anna');
  if (!boss.members.has(anna.self.id)) await next(boss, 'memberJoined');
  const told = [];
  boss.on('memberExited', ({ member }) => told.push(member.name));
  const changed = next(boss, 'roleChanged');
  await boss.setRole(['anna'], Role.AUDIENCE);
  await changed;
  assert.deepEqual(told, ['anna']);
  assert.deepEqual(Array.from(boss.members.values(), ({ name }) => name), ['boss']);
  const back = next(boss, 'memberJoined');
  await boss.setRole(['anna'], Role.TALKER);
  assert.equal((await back).member.name, 'anna');
});
