'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Conference, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { next } = require('./support/wait');
const { makeWx } = require('./support/wx');

let gateway;

before(async () => {
  gateway = await Gateway.start();
});

after(() => gateway.close());

test('however much an app asks for, WeChat sees ten requests and five sockets at once', async () => {
  const { wx, app } = makeWx();
  const platform = wxPlatform(wx);
  assert.equal(wxPlatform(wx), platform, 'all calls of a mini program share their places');
  const tokens = await Promise.all(Array.from({ length: 7 }, (_, n) => gateway.token(`user${n}`)));
  const { confrId } = await gateway.api('POST', '/v1/conferences', { password: '' });
  const calls = tokens.map((token) => new Conference({ apiURL: gateway.http, platform, token }));
  await Promise.all(calls.map((call) => call.join({ confrId })));
  await Promise.all(Array.from({ length: 30 }, (_, n) => calls[n % 7].send({ n })));
  assert.equal(app.counts.requestsPeak, 10);
  assert.equal(app.counts.socketsPeak, 5);

  // A place that gets free is taken: the sixth hears what it missed.
  const waiting = calls[5];
  const heard = next(waiting, 'memberExited');
  await calls[0].leave();
  assert.equal((await heard).member.name, 'user0');
  for (const call of calls) await call.leave();
});

test('a call without a socket learns from a refusal that it is over', async () => {
  const platform = wxPlatform(makeWx().wx);
  for (let n = 0; n < 5; n += 1) platform.socketSlots.take(() => {});
  const { confrId } = await gateway.api('POST', '/v1/conferences', { password: '' });
  const call = new Conference({ apiURL: gateway.http, platform, token: await gateway.token('anna') });
  await call.join({ confrId });
  await gateway.api('POST', `/v1/conferences/${confrId}/kick`, { memberNames: ['anna'] });
  const left = next(call, 'left');
  await assert.rejects(call.send('still here?'), { reason: 'member_gone' });
  assert.equal((await left).reason, 12);
});

test('an answer that says when to come again is heeded, and a request that creates is made once', async () => {
  const { wx, app } = makeWx();
  const platform = Object.assign({}, wxPlatform(wx));
  const { request } = platform;
  const keys = [];
  const waits = [];
  let lost = 2;
  platform.setTimer = (run, ms) => {
    waits.push(ms);
    return setTimeout(run, 0);
  };
  platform.request = async (wanted) => {
    keys.push(wanted.headers['idempotency-key']);
    const answer = await request(wanted);
    lost -= 1;
    // The first answer is lost on its way, the second is a gateway that is busy.
    if (lost === 1) throw Object.assign(new Error('cut'), { isPassing: true });
    if (lost === 0) return { status: 503, headers: { 'retry-after': '7' }, body: { reason: 'overloaded', code: -503, detail: 'busy' } };
    return answer;
  };
  const before = (await gateway.api('GET', '/v1/conferences')).conferences.length;
  const made = await Conference.create({ apiURL: gateway.http, platform, token: await gateway.token('maker') }, { password: 'p' });
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
  assert.equal(waits[1], 7000);
  const { conferences } = await gateway.api('GET', '/v1/conferences');
  assert.ok(conferences.some(({ confrId }) => confrId === made.confrId));
  assert.equal(conferences.length, before + 1);
  assert.equal(app.log.length, 3);
});
