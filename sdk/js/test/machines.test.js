'use strict';

// The parts without IO.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Backoff } = require('../src/backoff');
const { Emitter } = require('../src/emitter');
const { PLAYER, PUSHER, codeOf } = require('../src/media/codes');
const { player } = require('../src/media/player');
const { pusher } = require('../src/media/pusher');
const { Roster } = require('../src/roster');
const { Slots } = require('../src/slots');
const { alike } = require('../src/emedia/callbacks');

/** Runs a machine over codes and inputs; the states and what was to be done. */
function run(machine, words, state, steps) {
  const trace = [];
  for (const step of steps) {
    const input = typeof step === 'number' ? { type: 'code', word: words[step] } : step;
    const next = machine(state, input);
    state = next.state;
    trace.push(next.act ? `${state.name}!${next.act}` : state.name);
  }
  return trace;
}

const push = (...steps) => run(pusher, PUSHER, { name: 'starting' }, steps);
const play = (...steps) => run(player, PLAYER, { name: 'loading' }, steps);

test('a live-pusher that connects, loses its network and comes back by itself is left alone', () => {
  assert.deepEqual(push(1001, 1002, 1007, 1101, 1102, 3005, 3002, 1001, 1002), [
    'starting', 'live', 'live', 'live', 'reconnecting', 'reconnecting', 'reconnecting', 'reconnecting', 'live',
  ]);
});

test('a live-pusher that was refused or has given up gets one new URL, however often it says so', () => {
  assert.deepEqual(push(1002, 3004, 1102, 3004, -1307, { type: 'url' }, 1002), [
    'live', 'refreshing!refresh', 'refreshing', 'refreshing', 'refreshing', 'starting!start', 'live',
  ]);
  assert.deepEqual(push(1002, 1102, -1307), ['live', 'reconnecting', 'refreshing!refresh']);
});

test('a device that fails is stopped and waits for the user', () => {
  assert.deepEqual(push(-1301, -1302, 3004, { type: 'retry' }, { type: 'url' }), [
    'failed!stop', 'failed', 'failed', 'refreshing!refresh', 'starting!start',
  ]);
  assert.equal(pusher({ name: 'live' }, { type: 'code', word: PUSHER[-1302] }).state.part, 'microphone');
});

test('in the background nothing is asked for, and coming back starts again', () => {
  assert.deepEqual(push(1002, 5000, 3005, -1307, { type: 'resumed' }, { type: 'resumed' }), [
    'live', 'suspended', 'suspended', 'suspended', 'starting!start', 'starting',
  ]);
  assert.deepEqual(push(5001, 1002), ['suspended', 'live']);
});

test('after the end nothing starts a live-pusher or a live-player again', () => {
  const over = { type: 'over', reason: 'left' };
  const steps = [1002, { type: 'url' }, { type: 'retry' }, { type: 'resumed' }, { type: 'added' }, -1307];
  assert.deepEqual(push(over, ...steps), ['stopped!stop', ...steps.map(() => 'stopped')]);
  assert.deepEqual(play(over, ...steps), ['stopped!stop', ...steps.map(() => 'stopped')]);
});

test('a live-player waits where nobody publishes, and asks again when somebody does', () => {
  assert.deepEqual(play(2001, 2004, 2103, 2004, { type: 'removed' }, -2301, { type: 'added' }, { type: 'added' }, { type: 'url' }, 2007, 2003), [
    'loading', 'playing', 'reconnecting', 'playing', 'waiting!stop', 'waiting', 'refreshing!refresh', 'refreshing', 'loading!start', 'loading', 'playing',
  ]);
  assert.deepEqual(play(2004, 2103, 2007, -2301), ['playing', 'reconnecting', 'reconnecting', 'refreshing!refresh']);
  assert.deepEqual(play(2004, 2006), ['playing', 'refreshing!refresh']);
  assert.deepEqual(play(2004, 6000, 2103, { type: 'resumed' }), ['playing', 'suspended', 'suspended', 'loading!start']);
});

test('codes come as numbers, texts, events and errors; unknown ones change nothing', () => {
  for (const event of [1002, '1002', { detail: { code: 1002 } }, { code: 1002 }, { detail: { errCode: 1002 } }]) assert.equal(codeOf(event), 1002);
  assert.deepEqual(push(1002, 1031, -1326, 99999), ['live', 'live', 'live', 'live']);
  assert.ok(Number.isNaN(codeOf(undefined)));
});

test('waits double up to a cap and are spread', () => {
  const least = new Backoff(() => 0);
  const most = new Backoff(() => 1);
  assert.deepEqual(Array.from({ length: 8 }, () => most.next()), [300, 600, 1200, 2400, 4800, 9600, 15000, 15000]);
  assert.deepEqual([least.next(), least.next()], [150, 300]);
  most.reset();
  assert.equal(most.next(), 300);
});

test('places go to who waits, in order, and not to who gave up', () => {
  const slots = new Slots(1);
  const entered = [];
  const first = slots.take(() => entered.push('first'));
  const second = slots.take(() => entered.push('second'));
  slots.take((release) => {
    entered.push('third');
    release();
  });
  slots.take(() => entered.push('fourth'));
  second();
  assert.deepEqual(entered, ['first']);
  first();
  first();
  assert.deepEqual(entered, ['first', 'third', 'fourth']);
});

test('a handler that throws keeps nothing from the others', (t) => {
  const timers = t.mock.method(global, 'setTimeout', () => {});
  const emitter = new Emitter();
  const heard = [];
  emitter.on('news', () => {
    throw new Error('of the app');
  });
  const off = emitter.on('news', (event) => heard.push(event.n));
  emitter.emit('news', { n: 1 });
  assert.throws(timers.mock.calls[0].arguments[0], /of the app/, 'thrown again where the app sees it');
  off();
  emitter.off('news');
  emitter.emit('news', { n: 2 });
  assert.deepEqual(heard, [1]);
});

test('a loop that falls too far behind is told so', async () => {
  const emitter = new Emitter();
  const events = emitter.events();
  for (let n = 0; n < 1026; n += 1) emitter.emit('news', { n });
  let count = 0;
  await assert.rejects(async () => {
    for await (const event of events) {
      assert.equal(event.n, count);
      count += 1;
    }
  }, /too far behind/);
  assert.equal(count, 1024);
});

test('a loop that is left takes no more events', async () => {
  const emitter = new Emitter();
  const events = emitter.events();
  emitter.emit('news', { n: 1 });
  for await (const event of events) {
    assert.equal(event.type, 'news');
    break;
  }
  assert.equal(emitter._iterators.size, 0);
  emitter.finish();
  assert.deepEqual(await emitter.events().next(), { value: undefined, done: true });
});

const member = (id, role = 3) => ({ id, name: id, role, ext: {} });
const stream = (id, memId, more) => Object.assign({ id, rtcId: id, memId, live: true, voff: 0, aoff: 0 }, more);

test('a snapshot becomes the changes that lead to it, media before its people', () => {
  const roster = new Roster();
  const confr = { type: 10, members: [member('me'), member('old')], streams: [stream('s1', 'old'), stream('s2', 'me', { live: false })] };
  roster.join({ confr, member: member('me') });
  assert.deepEqual(Array.from(roster.streams.keys()), ['s1']);
  const changes = roster.apply({
    type: 'snapshot',
    conference: { type: 10 },
    members: [member('me', 1), member('new')],
    streams: [stream('s3', 'new')],
    member: member('me', 1),
  });
  assert.deepEqual(
    changes.map(({ type, member: who, stream: what }) => `${type} ${what ? what.id : who.id}`),
    ['streamRemoved s1', 'memberExited old', 'roleChanged me', 'memberJoined new', 'streamAdded s3']
  );
  assert.deepEqual(roster.apply({ type: 'snapshot', conference: { type: 10 }, members: [member('me', 1), member('new')], streams: [stream('s3', 'new')] }), []);
});

test('whoever goes takes its streams along, and frames that say nothing new are silent', () => {
  const roster = new Roster();
  roster.join({ confr: { type: 10, members: [member('me'), member('a')], streams: [stream('s1', 'a')] }, member: member('me') });
  assert.deepEqual(roster.apply({ type: 'streamAdded', stream: stream('s1', 'a') }), []);
  assert.deepEqual(roster.apply({ type: 'memberExited', member: member('a'), reason: 1 }).map(({ type }) => type), ['streamRemoved', 'memberExited']);
  assert.deepEqual(roster.apply({ type: 'streamRemoved', stream: stream('s1', 'a') }), []);
  assert.deepEqual(roster.apply({ type: 'somethingNew', n: 1 }), [{ type: 'somethingNew', n: 1 }]);
});

test('methods take callbacks in every form', async () => {
  const sum = alike(async (a, b) => {
    if (b === undefined) throw new Error('one');
    return a + b;
  });
  assert.equal(await sum(1, 2), 3);
  assert.equal(await new Promise((resolve) => sum(1, 2, resolve)), 3);
  assert.equal((await new Promise((resolve) => sum(1, undefined, () => {}, resolve))).message, 'one');
  const order = [];
  await new Promise((resolve) => sum(1, 2, { success: (value) => order.push(value), complete: resolve }));
  assert.deepEqual(order, [3]);
  const named = alike(async (option) => option);
  assert.deepEqual(await new Promise((resolve) => named({ roomName: 'x', success: resolve })), { roomName: 'x' });
});
