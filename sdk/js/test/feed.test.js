'use strict';

// The event socket against sockets of our own, for what no gateway does on demand.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Feed } = require('../src/feed');
const { Slots } = require('../src/slots');

/** A feed whose sockets and timers are moved by hand. */
function feedOf(places = 1) {
  const sockets = [];
  const timers = new Map();
  const told = { frames: [], states: [], ends: [] };
  const platform = {
    random: () => 1,
    socketSlots: new Slots(places),
    setTimer: (run, ms) => {
      const timer = { run, ms };
      timers.set(timer, timer);
      return timer;
    },
    clearTimer: (timer) => timers.delete(timer),
    openSocket: (wanted, handlers) => {
      const socket = { url: wanted.url, token: wanted.token, handlers, sent: [], isClosed: false };
      socket.send = (text) => socket.sent.push(text);
      socket.close = () => {
        socket.isClosed = true;
      };
      sockets.push(socket);
      return socket;
    },
  };
  const handlers = {
    frame: (frame) => told.frames.push(frame.seq),
    state: (state) => told.states.push(state),
    end: (end) => told.ends.push(end),
  };
  let tokens = 0;
  const token = () => `token${(tokens += 1)}`;
  const feed = new Feed(platform, { url: 'ws://gateway/events', token, after: 5 }, handlers);
  const fire = (ms) => {
    const timer = Array.from(timers.keys()).find((one) => one.ms === ms);
    assert.ok(timer, `a timer of ${ms} among ${Array.from(timers.keys(), (one) => one.ms)}`);
    timers.delete(timer);
    timer.run();
  };
  const last = () => sockets[sockets.length - 1];
  const hear = (frame) => last().handlers.message(JSON.stringify(frame));
  return { feed, sockets, timers, told, fire, last, hear };
}

test('a frame that does not follow on the last one brings a snapshot', () => {
  const { feed, sockets, told, last, hear } = feedOf();
  feed.open();
  last().handlers.open();
  assert.equal(last().url, 'ws://gateway/events?after=5');
  hear({ type: 'memberJoined', seq: 8, prev: 5 });
  hear({ type: 'memberExited', seq: 12, prev: 10 });
  assert.deepEqual(told.frames, [8]);
  assert.equal(sockets[0].isClosed, true);
  assert.equal(last().url, 'ws://gateway/events');
  hear({ type: 'snapshot', seq: 12, prev: 12 });
  hear({ type: 'memberJoined', seq: 13, prev: 12 });
  assert.deepEqual(told.frames, [8, 12, 13]);
});

test('each attempt takes the token and the number of its moment, and waits longer until one opens', () => {
  const { feed, sockets, told, fire, last, hear } = feedOf();
  feed.open();
  last().handlers.close(1006);
  fire(300);
  last().handlers.close(1006);
  fire(600);
  last().handlers.open();
  hear({ type: 'memberJoined', seq: 9, prev: 5 });
  last().handlers.close(4008);
  fire(300);
  assert.deepEqual(sockets.map(({ url, token }) => [url.split('?')[1], token]), [
    ['after=5', 'token1'],
    ['after=5', 'token2'],
    ['after=5', 'token3'],
    ['after=9', 'token4'],
  ]);
  assert.deepEqual(told.states, ['connecting', 'waiting', 'connecting', 'waiting', 'connecting', 'open', 'waiting', 'connecting']);
});

test('a drain is told and does not move the number', () => {
  const { feed, told, fire, last, hear } = feedOf();
  feed.open();
  last().handlers.open();
  hear({ type: 'serverDraining', seq: 5, prev: 5, deadlineMs: 10 });
  last().handlers.close(4503);
  fire(300);
  assert.equal(last().url, 'ws://gateway/events?after=5');
  assert.deepEqual(told.ends, []);
});

test('the end is told once, frees the place, and nothing is tried any more', () => {
  const { feed, sockets, timers, told, last, hear } = feedOf();
  feed.open();
  last().handlers.open();
  hear({ type: 'conferenceExit', seq: 9, prev: 5, reason: 12 });
  last().handlers.close(1000);
  feed.nudge();
  assert.deepEqual(told.ends, [{ reason: 12, failed: undefined }]);
  assert.deepEqual([sockets.length, timers.size], [1, 0]);
  assert.equal(feed.state, 'closed');
});

test('a socket that a newer client took over is the end on this device', () => {
  const { feed, told, last } = feedOf();
  feed.open();
  last().handlers.close(4009);
  assert.equal(told.ends.length, 1);
  assert.equal(told.ends[0].reason, 10);
});

test('something is sent now and then, and what is no JSON is passed over', () => {
  const { feed, told, fire, last } = feedOf();
  feed.open();
  last().handlers.open();
  fire(15000);
  fire(15000);
  assert.deepEqual(last().sent, ['{}', '{}']);
  last().handlers.message('<html>');
  assert.deepEqual(told.frames, []);
});

test('a feed without a place opens nothing, however often it is nudged', () => {
  const { feed, sockets } = feedOf(0);
  feed.open();
  feed.nudge();
  assert.equal(sockets.length, 0);
  feed.close();
});
