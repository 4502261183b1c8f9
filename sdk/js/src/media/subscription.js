'use strict';

const { Track } = require('./track');
const { player } = require('./player');
const { PLAYER } = require('./codes');

/**
 * A stream of somebody else, for a live-player: `url` is its RTMP address, `data.flv` and `data.wsFlv` the same for
 * browsers.
 *
 * `state.name`: `loading`, `playing`, `reconnecting`, `refreshing` (waits for a new URL), `waiting` (nobody publishes
 * it now), `suspended`, `failed` and `stopped`.
 */
class Subscription extends Track {
  /** `link`: `{ subscribe(streamId, profile): Promise<answer>, close(subscription) }`. */
  constructor(platform, link, answer, profile) {
    super(platform, {
      step: player,
      words: PLAYER,
      ask: () => this._subscribe(),
      url: answer.data.rtmp,
      state: { name: 'loading' },
    });
    this._link = link;
    this._profile = profile;
    this._take(answer);
  }

  get streamId() {
    return this.stream.id;
  }

  /** Stops watching. */
  close() {
    this._over('closed');
    this._link.close(this);
  }

  async _subscribe() {
    const answer = await this._link.subscribe(this.stream.id, this._profile);
    this._take(answer);
    return answer.data.rtmp;
  }

  _take(answer) {
    this.stream = answer.stream;
    /** The URLs as the gateway gave them: `rtmp`, `flv`, `wsFlv`. */
    this.data = answer.data;
    this.expiresAt = answer.expiresAt;
  }

  _refused(error) {
    // It may be declared again, under the same name.
    if (error.reason === 'stream_not_found') this._input({ type: 'removed' });
    else super._refused(error);
  }
}

module.exports = { Subscription };
