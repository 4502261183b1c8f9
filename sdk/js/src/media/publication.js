'use strict';

const { Track } = require('./track');
const { pusher } = require('./pusher');
const { PUSHER, PUSHER_ERROR, codeOf } = require('./codes');

/**
 * The own stream, for a live-pusher: `url` is its address, `stream` what the gateway knows of it, `video` and `audio`
 * whether they are meant to be seen and heard.
 *
 * `state.name`: `starting`, `live`, `reconnecting`, `refreshing` (waits for a new URL), `suspended` (background,
 * phone call), `failed` (`part`: `camera`, `microphone`, `encoder`; or `reason`: why the gateway refused; `retry()`
 * tries again) and `stopped`.
 */
class Publication extends Track {
  /** `link`: `{ declare(): Promise<answer>, change(streamId, flags): Promise<stream>, remove(streamId): Promise }`. */
  constructor(platform, link, answer, wanted) {
    super(platform, {
      step: pusher,
      words: PUSHER,
      ask: () => this._declare(),
      url: answer.data.rtmp,
      state: { name: 'starting' },
    });
    this._link = link;
    this._take(answer);
    this.rtcId = answer.stream.rtcId;
    /** Whether pictures are meant to be sent: what `enable-camera` is bound to. */
    this.video = wanted.video;
    /** Whether sound is meant to be sent: what `enable-mic` is bound to. */
    this.audio = wanted.audio;
    /** `videos_full` while the pictures are sent and held back, since no place for video is free. */
    this.refused = null;
  }

  /** What `binderror` of the live-pusher gave: the user refused the camera or the microphone. */
  handleError(event) {
    this._input({ type: 'code', word: PUSHER_ERROR[codeOf(event)] });
  }

  /**
   * Turns pictures or sound off and on, for everybody: `{ video?, audio? }`. Takes effect here at once (`video`,
   * `audio`, event `change`); refused, as by `videos_full`, it is taken back. Answers whether the gateway was told:
   * `wx.request` has no PATCH, and a gateway that takes no POST in its stead leaves it at what the own component
   * does.
   */
  async setMedia(wanted) {
    const before = { video: this.video, audio: this.audio };
    this._mean(Object.assign({}, before, wanted));
    const flags = {};
    if (wanted.video !== undefined) flags.voff = wanted.video ? 0 : 1;
    if (wanted.audio !== undefined) flags.aoff = wanted.audio ? 0 : 1;
    try {
      this.stream = await this._link.change(this.stream.id, flags);
      return true;
    } catch (error) {
      // While the call is joining again there is nobody to tell: the stream is declared anew as it is meant.
      if (error.status === 405 || error.reason === 'not_joined') return false;
      this._mean(before);
      throw error;
    }
  }

  /** Stops, and takes the stream back. */
  async stop() {
    this._over('stopped');
    await this._link.remove(this);
  }

  async _declare() {
    const answer = await this._link.declare(this);
    this._take(answer);
    return answer.data.rtmp;
  }

  _take(answer) {
    this.stream = answer.stream;
    /** The URLs as the gateway gave them: `rtmp`, and for OBS `rtmpServer` and `rtmpKey`. */
    this.data = answer.data;
    this.expiresAt = answer.expiresAt;
  }

  /** What the gateway tells of the stream. */
  _know(stream, refused) {
    this.stream = stream;
    this.refused = refused || null;
    this._tell();
  }

  _mean({ video, audio }) {
    this.video = video;
    this.audio = audio;
    this._tell();
  }

  _refused(error) {
    // A demotion is told by the feed as well; whoever comes first ends it.
    if (error.reason === 'not_allowed') this._over(error.reason);
    else super._refused(error);
  }
}

module.exports = { Publication };
