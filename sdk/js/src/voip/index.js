'use strict';

const { Conference } = require('../conference');
const { Emitter } = require('../emitter');
const { defaultPlatform } = require('../platform');
const { TidegateError } = require('../errors');
const { Tiles } = require('./tiles');

/** WeChat's numbers for what goes wrong. */
const ErrCode = Object.freeze({ ALREADY_INSIDE: -1, RECORDER_BUSY: -2, LEFT_WHILE_JOINING: -3, SYSTEM: -1000 });

/** The own stream among the member's streams. */
const RTC_ID = 'voip';

const EVENTS = [
  'VoIPChatMembersChanged',
  'VoIPChatSpeakersChanged',
  'VoIPVideoMembersChanged',
  'VoIPChatInterrupted',
  'VoIPChatStateChanged',
  'VoIPTilesChanged',
];

/**
 * WeChat's VoIP names over a conference of the gateway, where web pages and other clients can be members too.
 *
 * `options`: `apiURL`, `token` or `getToken` (the user token; its user is the openid), `getSignature(groupId)` for
 * coming back by itself, `platform`.
 *
 * WeChat's `voip-room` carries sound and pictures by itself; here the page shows a live-pusher and live-players, and
 * `tiles()` tells with which URLs. `onVoIPTilesChanged` tells when to look again.
 */
class Voip {
  constructor(options) {
    this._options = Object.assign({}, options);
    this._options.platform = this._options.platform || defaultPlatform();
    this._events = new Emitter();
    this._state = 'idle';
    this._call = null;
    this._tiles = null;
    this._muteConfig = {};
    this._isRecorderBusy = false;
    this._options.platform.onInterruptionBegin(() => {
      this._isRecorderBusy = true;
    });
    this._options.platform.onInterruptionEnd(() => {
      this._isRecorderBusy = false;
    });
  }

  /**
   * Joins the group: `{ groupId, roomType, signature, nonceStr, timeStamp, muteConfig, success, fail, complete }` →
   * `{ openIdList, errCode, errMsg }`.
   */
  joinVoIPChat(given) {
    return this._run('joinVoIPChat', given, (option) => this._join(option));
  }

  exitVoIPChat(given) {
    return this._run('exitVoIPChat', given, async () => {
      if (this._state === 'joining') this._interruptJoin('left while joining');
      if (this._call) await this._call.leave();
    });
  }

  /** `{ muteConfig: { muteMicrophone, muteEarphone } }`: what is not named stays. */
  updateVoIPChatMuteConfig(given) {
    return this._run('updateVoIPChatMuteConfig', given, async ({ muteConfig }) => {
      const call = this._inside();
      Object.assign(this._muteConfig, muteConfig);
      const publication = call.publications.get(RTC_ID);
      this._tiles.update();
      if (publication) await publication.setMedia({ audio: !this._muteConfig.muteMicrophone });
    });
  }

  /** `{ openIdList }`: whose pictures are shown, of more than two members. */
  subscribeVoIPVideoMembers(given) {
    return this._run('subscribeVoIPVideoMembers', given, async ({ openIdList }) => {
      this._inside();
      this._tiles.show(openIdList || []);
    });
  }

  /**
   * What the page shows, in the order of joining: `{ openid, isSelf, url, picture, sound, track }`. A tile without
   * `picture` is for its sound alone: its live-player is not seen. `track` is the publication or subscription that
   * the component's events go to.
   */
  tiles() {
    return this._tiles ? this._tiles.list() : [];
  }

  async _join(option) {
    if (this._state !== 'idle') throw fault(ErrCode.ALREADY_INSIDE, 'already in a room');
    if (this._isRecorderBusy) throw fault(ErrCode.RECORDER_BUSY, 'the microphone is in use by another call');
    this._state = 'joining';
    const call = new Conference(this._options);
    this._call = call;
    const interrupted = new Promise((_, reject) => {
      this._interruptJoin = (why) => reject(fault(ErrCode.LEFT_WHILE_JOINING, why));
    });
    const offHide = this._options.platform.onHide(() => this._interruptJoin('the mini program went to the background'));
    try {
      await Promise.race([this._enter(call, option), interrupted]);
    } catch (error) {
      this._state = 'idle';
      this._call = null;
      this._tiles = null;
      call.leave().catch(() => {});
      throw error;
    } finally {
      offHide();
    }
    this._state = 'inside';
    this._follow(call);
    return { openIdList: this._openIds() };
  }

  async _enter(call, option) {
    const { groupId, roomType, signature, nonceStr, timeStamp, muteConfig } = option;
    const { getSignature } = this._options;
    await call.join({ groupId, roomType, signature, nonceStr, timeStamp, muteConfig, getSignature });
    this._muteConfig = Object.assign({ muteMicrophone: false, muteEarphone: false }, muteConfig);
    this._tiles = new Tiles(call, RTC_ID, this._muteConfig, () => this._events.emit('VoIPTilesChanged', { tiles: this.tiles() }));
    await call.publish({ rtcId: RTC_ID, video: call.info.roomType === 'video', audio: !this._muteConfig.muteMicrophone });
    this._tiles.begin();
  }

  _follow(call) {
    const membersChanged = () => this._emit('VoIPChatMembersChanged', { openIdList: this._openIds() });
    call.on('memberJoined', membersChanged);
    call.on('memberExited', membersChanged);
    let videos = this._videoOpenIds().join();
    const videosChanged = () => {
      const openIdList = this._videoOpenIds();
      if (openIdList.join() === videos) return;
      videos = openIdList.join();
      this._emit('VoIPVideoMembersChanged', { openIdList });
    };
    for (const name of ['streamAdded', 'streamRemoved', 'mediaChanged']) call.on(name, videosChanged);
    call.on('stateChanged', ({ state }) => this._emit('VoIPChatStateChanged', { code: 0, data: { state } }));
    const publication = call.publications.get(RTC_ID);
    publication.on('change', ({ state }) => {
      if (state.name === 'failed' && state.part === 'microphone') {
        this._emit('VoIPChatInterrupted', { errCode: ErrCode.RECORDER_BUSY, errMsg: 'the microphone cannot be used' });
      }
    });
    call.on('left', ({ reason }) => {
      this._state = 'idle';
      this._call = null;
      this._tiles = null;
      if (reason === 0) return;
      const errMsg = `the call has ended, reason ${reason}`;
      this._emit('VoIPChatInterrupted', { errCode: ErrCode.SYSTEM, errMsg, reason });
    });
  }

  _inside() {
    if (this._state !== 'inside') throw fault(ErrCode.SYSTEM, 'not in a room');
    return this._call;
  }

  _openIds() {
    return Array.from(this._call.members.values()).map(({ name }) => name);
  }

  _videoOpenIds() {
    const shown = new Set(Array.from(this._call.streams.values()).filter(({ voff }) => voff === 0).map(({ memId }) => memId));
    return Array.from(this._call.members.values()).filter(({ id }) => shown.has(id)).map(({ name }) => name);
  }

  _emit(name, event) {
    this._events.emit(name, Object.assign({ errCode: 0, errMsg: 'ok' }, event));
  }

  /** WeChat's manner: callbacks, and a promise where there are none. */
  _run(name, given, act) {
    const { success, fail, complete } = given || {};
    const promise = Promise.resolve()
      .then(() => act(given || {}))
      .then((value) => Object.assign({ errCode: 0, errMsg: `${name}:ok` }, value))
      .catch((error) => {
        throw failure(name, error);
      });
    if (success || fail || complete) {
      promise.then(
        (value) => [success, complete].forEach((told) => told && told(value)),
        (error) => [fail, complete].forEach((told) => told && told(error))
      );
    }
    return promise;
  }
}

for (const event of EVENTS) {
  Voip.prototype[`on${event}`] = function on(callback) {
    this._events.on(event, callback);
  };
  Voip.prototype[`off${event}`] = function off(callback) {
    this._events.off(event, callback);
  };
}

function fault(errCode, message) {
  const error = new TidegateError('aborted', message);
  error.errCode = errCode;
  return error;
}

/** An error as WeChat's callbacks get it, with the gateway's `reason` beside it. */
function failure(name, error) {
  error.errCode = error.errCode === undefined ? ErrCode.SYSTEM : error.errCode;
  error.errMsg = `${name}:fail ${error.message}`;
  return error;
}

module.exports = { Voip, VoIPErrCode: ErrCode };
