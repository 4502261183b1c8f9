'use strict';

const assert = require('node:assert/strict');
const { createHmac } = require('node:crypto');
const { after, before, test } = require('node:test');
const { Voip, wxPlatform } = require('../src');
const { Gateway } = require('./support/gateway');
const { firstPicture, livePusher, stopMedia } = require('./support/media');
const { later } = require('./support/wait');
const { makeWx } = require('./support/wx');

const APP_ID = 'wx20afc706a711eefc';
const SESSION_KEY = 'gDyVgzwa0mFz9uUP7M6GQQ==';

let gateway;
const rooms = [];
let nonces = 0;

before(async () => {
  gateway = await Gateway.start({ TIDEGATE_PUBLISHER_GRACE_MS: '300' });
});

after(async () => {
  stopMedia();
  for (const room of rooms) await room.exitVoIPChat().catch(() => {});
  await gateway.close();
});

/** As the app's backend signs, with the session key that it has of the user's login. */
function signed(groupId) {
  nonces += 1;
  const nonceStr = `nonce${nonces}`;
  const timeStamp = Math.floor(Date.now() / 1000);
  const text = [APP_ID, groupId, nonceStr, String(timeStamp)].sort().join('');
  return { groupId, nonceStr, timeStamp, signature: createHmac('sha256', SESSION_KEY).update(text).digest('hex') };
}

async function phone(openid) {
  await gateway.api('PUT', `/v1/voip/sessions/${openid}`, { sessionKey: SESSION_KEY, appId: APP_ID });
  const { wx, app } = makeWx();
  const voip = new Voip({ apiURL: gateway.http, platform: wxPlatform(wx), token: await gateway.token(openid) });
  rooms.push(voip);
  return { voip, app };
}

/** The next time that the tiles are as wanted. */
function tiles(voip, what, fits) {
  const { promise, resolve } = later(what);
  const look = () => fits(voip.tiles()) && resolve(voip.tiles());
  voip.onVoIPTilesChanged(look);
  look();
  return promise.finally(() => voip.offVoIPTilesChanged(look));
}

const names = (list) => list.map(({ openid }) => openid);

test('a video room as WeChat has it: members, pictures of the first two, and of those subscribed', async () => {
  const groupId = '1559129713_672975982';
  const anna = await phone('anna');
  const boris = await phone('boris');
  const vera = await phone('vera');

  const answer = await new Promise((success, fail) => {
    anna.voip.joinVoIPChat(Object.assign({ roomType: 'video', muteConfig: { muteMicrophone: false, muteEarphone: false }, success, fail }, signed(groupId)));
  });
  assert.deepEqual(answer, { errCode: 0, errMsg: 'joinVoIPChat:ok', openIdList: ['anna'] });

  const came = later('onVoIPChatMembersChanged');
  anna.voip.onVoIPChatMembersChanged(came.resolve);
  const { openIdList } = await boris.voip.joinVoIPChat(Object.assign({ roomType: 'video' }, signed(groupId)));
  assert.deepEqual(openIdList, ['anna', 'boris']);
  assert.deepEqual(await came.promise, { errCode: 0, errMsg: 'ok', openIdList: ['anna', 'boris'] });
  anna.voip.offVoIPChatMembersChanged(came.resolve);

  await vera.voip.joinVoIPChat(Object.assign({ roomType: 'video' }, signed(groupId)));
  const videos = later('onVoIPVideoMembersChanged');
  anna.voip.onVoIPVideoMembersChanged(({ openIdList: shown }) => shown.length === 2 && videos.resolve(shown));
  for (const { voip } of [boris, vera]) {
    const [own] = voip.tiles().filter(({ isSelf }) => isSelf);
    livePusher().drive(own.track);
  }
  assert.deepEqual(await videos.promise, ['boris', 'vera']);

  // Anna and Boris were first: Vera is heard and not seen until she is asked for.
  const first = await tiles(anna.voip, 'three tiles', (list) => list.length === 3);
  assert.deepEqual(names(first), ['anna', 'boris', 'vera']);
  assert.deepEqual(first.map(({ picture }) => picture), [true, true, false]);
  assert.deepEqual(first.map(({ sound }) => sound), [true, true, true]);
  assert.equal(await firstPicture(first[1].url), '160x120');
  await anna.voip.subscribeVoIPVideoMembers({ openIdList: ['vera'] });
  assert.deepEqual(anna.voip.tiles().map(({ picture }) => picture), [true, false, true]);

  await anna.voip.updateVoIPChatMuteConfig({ muteConfig: { muteMicrophone: true, muteEarphone: true } });
  assert.deepEqual(anna.voip.tiles().map(({ sound }) => sound), [false, false, false]);

  const gone = tiles(anna.voip, 'the tile of Boris to go', (list) => list.length === 2);
  assert.equal((await boris.voip.exitVoIPChat()).errMsg, 'exitVoIPChat:ok');
  assert.deepEqual(names(await gone), ['anna', 'vera']);
  await vera.voip.exitVoIPChat();
  await anna.voip.exitVoIPChat();
  assert.deepEqual(anna.voip.tiles(), []);

  // Out, and in again.
  const again = await anna.voip.joinVoIPChat(Object.assign({ roomType: 'video' }, signed(groupId)));
  assert.deepEqual(again.openIdList, ['anna']);
  await anna.voip.exitVoIPChat();
});

test('a voice room sends no pictures', async () => {
  const { voip } = await phone('anna');
  await voip.joinVoIPChat(Object.assign({ roomType: 'voice', muteConfig: { muteMicrophone: true } }, signed('voices')));
  const [own] = voip.tiles();
  assert.deepEqual([own.picture, own.sound, own.track.video, own.track.audio], [false, false, false, false]);
  await voip.exitVoIPChat();
});

test('what goes wrong has the numbers of WeChat', async () => {
  const { voip, app } = await phone('anna');
  const wrong = Object.assign({ roomType: 'voice' }, signed('group'), { signature: '00' });
  await assert.rejects(voip.joinVoIPChat(wrong), { errCode: -1000, reason: 'unauthenticated', errMsg: /^joinVoIPChat:fail / });

  await voip.joinVoIPChat(Object.assign({ roomType: 'voice' }, signed('group')));
  const refused = await new Promise((fail) => {
    voip.joinVoIPChat(Object.assign({ roomType: 'voice', fail }, signed('group')));
  });
  assert.equal(refused.errCode, -1);

  const interrupted = later('onVoIPChatInterrupted');
  voip.onVoIPChatInterrupted(interrupted.resolve);
  const { conferences } = await gateway.api('GET', '/v1/conferences');
  const room = conferences.find(({ groupId }) => groupId === 'group');
  await gateway.api('POST', `/v1/conferences/${room.confrId}/kick`, { memberNames: ['anna'] });
  assert.deepEqual([(await interrupted.promise).errCode, (await interrupted.promise).reason], [-1000, 12]);
  voip.offVoIPChatInterrupted();

  app.phoneCall(true);
  await assert.rejects(voip.joinVoIPChat(Object.assign({ roomType: 'voice' }, signed('busy'))), { errCode: -2 });
  app.phoneCall(false);

  const hidden = voip.joinVoIPChat(Object.assign({ roomType: 'voice' }, signed('hidden')));
  await Promise.resolve();
  app.hide();
  await assert.rejects(hidden, { errCode: -3 });
  const left = voip.joinVoIPChat(Object.assign({ roomType: 'voice' }, signed('left')));
  await Promise.resolve();
  await voip.exitVoIPChat();
  await assert.rejects(left, { errCode: -3 });
  await assert.rejects(voip.updateVoIPChatMuteConfig({ muteConfig: {} }), { errCode: -1000 });
});

test('a microphone that another call took interrupts', async () => {
  const { voip } = await phone('anna');
  await voip.joinVoIPChat(Object.assign({ roomType: 'voice' }, signed('mic')));
  const interrupted = later('onVoIPChatInterrupted');
  voip.onVoIPChatInterrupted(interrupted.resolve);
  voip.tiles()[0].track.handleStateChange(-1302);
  assert.equal((await interrupted.promise).errCode, -2);
  await voip.exitVoIPChat();
});
