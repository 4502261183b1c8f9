const tracks = require('../../lib/tracks');

/** A live-pusher that a Publication drives: `track-key` names it in lib/tracks. */
Component({
  properties: {
    trackKey: String,
    video: { type: Boolean, value: true },
    audio: { type: Boolean, value: true },
  },

  data: { url: '' },

  lifetimes: {
    attached() {
      this._track = tracks.get(this.data.trackKey);
      this._detach = this._track && this._track.attach({
        // The component begins with `start`, never by itself: autopush would push to a URL that has ended.
        setUrl: (url, done) => this.setData({ url }, done),
        start: () => {
          this._media().stop();
          this._media().start();
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
    /** Made when it is first needed: at `attached` there is no live-pusher yet. */
    _media() {
      this._context = this._context || wx.createLivePusherContext();
      return this._context;
    },
    onStateChange(event) {
      if (this._track) this._track.handleStateChange(event);
    },
    onNetStatus(event) {
      if (this._track) this._track.handleNetStatus(event);
    },
    onError(event) {
      if (this._track) this._track.handleError(event);
    },
    /** The other camera. */
    switchCamera() {
      this._media().switchCamera();
    },
  },
});
