const tracks = require('../../lib/tracks');

/** A live-player that a Subscription drives: `track-key` names it in lib/tracks. */
Component({
  properties: {
    trackKey: String,
    muted: Boolean,
  },

  data: { url: '' },

  lifetimes: {
    attached() {
      this._track = tracks.get(this.data.trackKey);
      this._detach = this._track && this._track.attach({
        setUrl: (url, done) => this.setData({ url }, done),
        start: () => {
          this._media().stop();
          this._media().play();
        },
        stop: () => this._media().stop(),
      });
    },
    detached() {
      if (this._detach) this._detach();
      if (this._context) this._context.stop();
    },
  },

  methods: {
    /** Made when it is first needed: at `attached` there is no live-player yet. */
    _media() {
      this._context = this._context || wx.createLivePlayerContext('player', this);
      return this._context;
    },
    onStateChange(event) {
      if (this._track) this._track.handleStateChange(event);
    },
    onNetStatus(event) {
      if (this._track) this._track.handleNetStatus(event);
    },
  },
});
