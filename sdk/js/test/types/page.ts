// A page as its developer types it: compiled, never run.

import { Conference, Role, TidegateError, Voip, emedia, wxPlatform } from '@tidegate/client';
import type { Confr, EmediaMember, Publication, Stream } from '@tidegate/client';
import stock = require('@tidegate/client/emedia_for_miniProgram');

declare const context: WechatMiniprogram.LivePusherContext;

emedia.config({ apiURL: 'https://rtc.example.com', appId: 'app', user: 'anna', getToken: async (user) => `token of ${user}` });
emedia.mgr.onMemberJoined = function (member) {
  const name: string = member.memName;
  console.log(name, member.isSelf);
};
emedia.mgr.onStreamAdded = function (member: EmediaMember, stream: Stream) {
  emedia.mgr.subStream(stream.id).then((res) => console.log(member.name, res.data.rtmp));
};
emedia.mgr.onStreamRemoved = function (stream: Stream) {
  console.log(stream.voff);
};
emedia.mgr.onConferenceExit = function (reason, failed) {
  reason = reason || 0;
  if (failed === -500) console.log(reason);
};
emedia.mgr.createConference(emedia.mgr.ConfrType.COMMUNICATION, 'password').then((confr: Confr) => {
  emedia.mgr.joinConferenceWithTicket(confr.confrId, confr.ticket as string, { role: 'admin' });
  emedia.mgr.kickMembersById(confr.confrId, ['boris'], { fail: (error) => console.log(error.code) });
  emedia.mgr.grantRole(confr.confrId, ['boris'], '3');
});
stock.mgr.joinRoom({ roomName: 'test', password: '', role: 7, config: {} }).then((res) => res.confrId);
// @ts-expect-error: a room has a name
stock.mgr.joinRoom({ password: '' });
// @ts-expect-error: 9 is no kind of a conference
Conference.create({ apiURL: 'https://rtc.example.com' }, { confrType: 9 });

async function call(): Promise<void> {
  const conference = new Conference({ apiURL: 'https://rtc.example.com', platform: wxPlatform(wx), token: 'ey' });
  try {
    await conference.join({ confrId: 'TS_a', password: 'tide', nickName: 'Anna' });
  } catch (error) {
    if (error instanceof TidegateError && error.reason === 'wrong_password') return;
    throw error;
  }
  conference.on('roleChanged', ({ role, isSelf }) => isSelf && role === Role.TALKER && console.log('speak'));
  // @ts-expect-error: there is no such event
  conference.on('memberjoined', () => {});
  const own: Publication = await conference.publish({ video: true });
  own.attach({ setUrl: (url, done) => done(), start: () => context.start(), stop: () => context.stop() });
  for await (const event of conference.events()) {
    if (event.type === 'streamAdded') await conference.subscribe(event.stream.id, { profile: 'rtc' });
    if (event.type === 'left') console.log(event.failed);
  }
}

Page({
  data: { url: '' },
  onLoad() {
    call();
  },
  onPusherState(event: WechatMiniprogram.LivePusherStateChange) {
    emedia.mgr.handlePusherState(event);
  },
});

// The VoIP face takes what WeChat's own functions take.
const voip = new Voip({ apiURL: 'https://rtc.example.com', token: 'ey' });
const option: WechatMiniprogram.JoinVoIPChatOption = {
  groupId: 'g',
  nonceStr: 'n',
  signature: 's',
  timeStamp: 1559129714,
  roomType: 'video',
  muteConfig: { muteMicrophone: false, muteEarphone: false },
};
const wanted = { ...option, roomType: 'video' as const, success: undefined, fail: undefined, complete: undefined };
voip.joinVoIPChat(wanted).then((result) => {
  const list: Pick<WechatMiniprogram.JoinVoIPChatSuccessCallbackResult, 'openIdList' | 'errCode' | 'errMsg'> = result;
  console.log(list);
});
const members: (callback: WechatMiniprogram.OnVoIPChatMembersChangedCallback) => void = (callback) => voip.onVoIPChatMembersChanged(callback);
members(({ openIdList }) => voip.subscribeVoIPVideoMembers({ openIdList }));
