'use strict';

// The snippets of the emedia guide, as an app's developer pastes them; `emedia.config` is the one line that is new.

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { Gateway } = require('./support/gateway');
const { firstPicture, push, stopMedia } = require('./support/media');
const { later } = require('./support/wait');
const { makeWx } = require('./support/wx');

let gateway;

before(async () => {
  gateway = await Gateway.start({ TIDEGATE_PUBLISHER_GRACE_MS: '300' });
});

after(async () => {
  stopMedia();
  await gateway.close();
});

/** A phone with the SDK in it: files, `wx` and all else are its own. */
async function phone(user) {
  const { wx } = makeWx();
  global.wx = wx;
  for (const file of Object.keys(require.cache)) {
    if (file.includes('/dist/')) delete require.cache[file];
  }
  // The guide's line is: var emedia = require("../emedia/emedia_for_miniProgram.js");
  var emedia = require('../dist/emedia_for_miniProgram.js');
  emedia.config({ apiURL: gateway.http, appId: gateway.key.split('.')[0], user, token: await gateway.token(user) });
  return { emedia, wx };
}

test('two phones meet as the guide says: create, ticket, publish, subscribe, kick', async () => {
  const { emedia, wx } = await phone('yss000');
  const other = await phone('yss001');
  const rtcId = wx.emedia.util.getRtcId();
  const confrType = emedia.mgr.ConfrType.COMMUNICATION;
  const password = 'password123';
  const ext = { role: 'admin' };
  const seen = [];

  let confr;
  await emedia.mgr.createConference(confrType, password).then(function (made) {
    // confr 即为创建的会议
    confr = made;
  });
  assert.match(confr.confrId, /^TS_/);
  assert.deepEqual([confr.id, confr.password, confr.type], [confr.confrId, 'password123', 10]);
  const { confrId, ticket } = confr;

  const joined = later('onMemberJoined of the other');
  const added = later('onStreamAdded');
  const removed = later('onStreamRemoved');
  const exited = later('onMemberExited');
  emedia.mgr.onMemberJoined = function (member) {
    seen.push(member.name);
    if (!member.isSelf) joined.resolve(member);
  };
  emedia.mgr.onMemberExited = function (member) {
    exited.resolve(member);
  };

  await emedia.mgr.joinConferenceWithTicket(confrId, ticket, ext).then(function (confr) {
    assert.equal(confr.confrId, confrId);
    assert.equal(confr.ticket, ticket);
    assert.ok(confr.roleToken);
  });

  // live-pusher
  let pushed;
  await emedia.mgr.pubStream(rtcId).then(function (res) {
    // 将返回的res.data.rtmp 赋值给live-pusher的src就可以推流了
    pushed = push(res.data.rtmp);
  });

  // 其他人进入会议
  other.emedia.mgr.onStreamAdded = function (member, stream) {
    added.resolve({ member, stream });
  };
  other.emedia.mgr.onStreamRemoved = function (stream) {
    removed.resolve(stream);
  };
  await other.emedia.mgr.joinConference(confrId, password, { mood: 'good' }).then(function (confr) {
    assert.equal(confr.confrId, confrId);
    assert.ok(confr.ticket);
  });

  const member = await joined.promise;
  assert.equal(member.name, 'yss001');
  assert.deepEqual(member.ext, { mood: 'good' });
  assert.match(member.id, /^MS_/);
  assert.equal(member.globalName, `${gateway.key.split('.')[0]}#yss001`);
  assert.equal(seen[0], 'yss000', 'oneself is told first');

  const told = await added.promise;
  assert.equal(told.member.name, 'yss000');
  assert.deepEqual(told.member.ext, { role: 'admin' });
  assert.deepEqual(
    [told.stream.voff, told.stream.aoff, told.stream.rtcId, told.stream.owner.name, told.stream.memId],
    [0, 0, rtcId, 'yss000', told.member.id]
  );

  let src;
  const streamId = told.stream.id;
  await other.emedia.mgr.subStream(streamId).then(function (res) {
    // 将返回的res.data.rtmp赋值给live-player的src就可以播放了
    src = res.data.rtmp;
  });
  assert.equal(await firstPicture(src), '160x120');

  const out = later('onConferenceExit');
  other.emedia.mgr.onConferenceExit = function (reason, failed) {
    out.resolve({ reason, failed });
  };
  pushed.stop();
  assert.equal((await removed.promise).id, streamId);
  const memberNames = ['yss001'];
  await emedia.mgr.kickMembersById(confrId, memberNames).then(function () {});
  assert.deepEqual(await out.promise, { reason: 12, failed: undefined });
  assert.equal((await exited.promise).name, 'yss001');

  const closed = later('the end');
  emedia.mgr.onConferenceExit = function (reason) {
    closed.resolve(reason);
  };
  await emedia.mgr.destroyConference(confrId).then(function () {});
  assert.equal(await closed.promise, 11);
});

test('a room by its name, roles, and media that changes', async () => {
  const { emedia, wx } = await phone('room-maker');
  const other = await phone('room-guest');
  let params = {
    roomName: 'test',
    password: '',
    role: 7, // admin
    config: { nickName: 'Maker', maxTalkerCount: 4, ext: { seat: 1 } },
  };
  let confrId;
  await wx.emedia.mgr.joinRoom(params).then((res) => {
    confrId = res.confrId;
  }).catch((error) => {
    throw error;
  });
  // wx.emedia is that of the phone that was first.
  const role = later('onRoleChanged');
  other.emedia.mgr.onRoleChanged = function (changed) {
    role.resolve(changed);
  };
  const guest = await other.emedia.mgr.joinRoom({ roomName: 'test', password: '', role: 7, config: {} });
  assert.equal(guest.confrId, confrId);
  assert.equal(guest.isCreator, false);

  await emedia.mgr.grantRole(confrId, ['room-guest'], '1').then(function () {});
  assert.equal(await role.promise, 1);
  await assert.rejects(other.emedia.mgr.pubStream(other.emedia.util.getRtcId()), { reason: 'not_allowed', code: -101 });

  const left = later('onConferenceExit of who leaves');
  other.emedia.mgr.onConferenceExit = function (reason) {
    left.resolve(reason);
  };
  const gone = later('onMemberExited');
  emedia.mgr.onMemberExited = function (member, reason) {
    gone.resolve([member.name, reason]);
  };
  other.emedia.mgr.exitConference(confrId);
  assert.equal(await left.promise, 0);
  assert.deepEqual(await gone.promise, ['room-guest', 0]);
  await emedia.mgr.exitConference(confrId);
});

test('callbacks in the stead of promises, and refusals with the codes of the guide', async () => {
  const { emedia } = await phone('caller');
  const confr = await new Promise((resolve, reject) => {
    emedia.mgr.createConference(emedia.mgr.ConfrType.LIVE, 'right', { success: resolve, fail: reject });
  });
  assert.equal(confr.type, 12);
  const other = await phone('stranger');
  const refused = await new Promise((resolve) => {
    other.emedia.mgr.joinConference(confr.confrId, 'wrong', {}, () => resolve(null), resolve);
  });
  assert.deepEqual([refused.reason, refused.code, refused.status], ['wrong_password', -508, 403]);
  await assert.rejects(other.emedia.mgr.joinConferenceWithTicket(confr.confrId, 'no ticket'), { code: -500 });
  await assert.rejects(other.emedia.mgr.getConferenceTkt('TS_nowhere', 'x'), { code: -301 });
  const ticket = await other.emedia.mgr.getConferenceTkt(confr.confrId, 'right');
  assert.match(ticket, /^ey/);
  // A creator that did not join runs its conference all the same.
  assert.deepEqual(await emedia.mgr.kickMembersById(confr.confrId, ['stranger']), { kicked: [] });
  await assert.rejects(other.emedia.mgr.joinConferenceWithTicket(confr.confrId, ticket), { code: -504 });
  await emedia.mgr.destroyConference(confr.confrId);
  await assert.rejects(other.emedia.mgr.joinConference(confr.confrId, 'right'), { code: -302 });
});
