const { Role } = require('../../lib/tidegate/tidegate.js');
const { texts, refusalText } = require('../../lib/texts');
const tracks = require('../../lib/tracks');
const { view } = require('./view');

/** What an audience member says to the ADMINs when it wants to speak. */
const ASK = 'tidegate.askToSpeak';

/**
 * A call on a page: pictures, controls, people.
 *
 * The page joins a Conference and hands it over: `this.selectComponent('#room').begin(conference, { video, audio })`.
 * Events: `left` `{ reason, failed, text }` when the call is over, `trouble` `{ error, text }` for what was refused
 * meanwhile.
 */
Component({
  properties: {
    /** Pictures at once, the own one included. Older Android phones play about six. */
    maxTiles: { type: Number, value: 9 },
  },

  data: {
    state: 'idle',
    banner: '',
    tiles: [],
    columns: 1,
    members: [],
    asks: [],
    audience: '',
    hasAsked: false,
    isPeopleOpen: false,
    me: { isAdmin: false, mayPublish: false, publishes: false, video: false, audio: false },
    texts: {},
  },

  lifetimes: {
    detached() {
      if (this._conference) this._conference.leave().catch(() => {});
    },
  },

  methods: {
    /** `wanted`: whether `video` and `audio` are on from the start; `audience: true` publishes nothing. */
    begin(conference, wanted) {
      this._conference = conference;
      this._wanted = Object.assign({ video: true, audio: true, audience: false }, wanted);
      this._words = texts();
      this._asks = [];
      this._hasAsked = false;
      this._coming = new Set();
      // Functions are no data.
      this.setData({ texts: JSON.parse(JSON.stringify(this._words)) });
      this._listen();
      if (conference.role >= Role.TALKER && !this._wanted.audience) this._publish();
      this._fill();
      this._render();
    },

    _listen() {
      const conference = this._conference;
      const render = () => this._render();
      for (const name of ['stateChanged', 'memberJoined', 'memberExited', 'memberChanged', 'mediaChanged', 'conferenceChanged']) {
        conference.on(name, render);
      }
      conference.on('streamAdded', () => {
        this._fill();
        this._render();
      });
      conference.on('streamRemoved', ({ stream }) => this._drop(stream.id));
      conference.on('roleChanged', ({ isSelf, role }) => this._roleChanged(isSelf, role));
      conference.on('message', ({ from, body }) => this._heard(from, body));
      conference.on('left', ({ reason, failed }) => {
        this._render();
        this.triggerEvent('left', { reason, failed, text: this._words.left[reason] || '' });
      });
    },

    /** Whoever asked to speak and may now, speaks. */
    _roleChanged(isSelf, role) {
      if (isSelf && role >= Role.TALKER && this._hasAsked) this._publish();
      if (isSelf) this._hasAsked = false;
      this._fill();
      this._render();
    },

    _heard(from, body) {
      if (!from || !body || body.kind !== ASK || this._asks.includes(from.name)) return;
      this._asks = this._asks.concat(from.name);
      this._render();
    },

    _publish() {
      const { video, audio } = this._wanted;
      return this._try(
        this._conference.publish({ rtcId: 'camera', video, audio }).then((publication) => {
          tracks.put('own', publication);
          publication.on('change', () => this._render());
          this._fill();
          this._render();
        })
      );
    },

    /** Watches streams while there is a place for their pictures. */
    _fill() {
      const conference = this._conference;
      const own = conference.self && conference.self.id;
      const places = this.data.maxTiles - (conference.role >= Role.TALKER && !this._wanted.audience ? 1 : 0);
      for (const stream of conference.streams.values()) {
        const isTaken = conference.subscriptions.has(stream.id) || this._coming.has(stream.id);
        if (stream.memId === own || isTaken || conference.subscriptions.size + this._coming.size >= places) continue;
        this._watch(stream.id);
      }
    },

    _watch(streamId) {
      this._coming.add(streamId);
      this._conference
        .subscribe(streamId)
        .then((subscription) => {
          tracks.put(streamId, subscription);
          subscription.on('change', () => this._render());
        })
        // Whoever is gone meanwhile needs no tile.
        .catch(() => {})
        .then(() => {
          this._coming.delete(streamId);
          if (!this._conference.streams.has(streamId)) this._drop(streamId);
          this._render();
        });
    },

    _drop(streamId) {
      const subscription = this._conference.subscriptions.get(streamId);
      if (subscription) subscription.close();
      tracks.remove(streamId);
      this._fill();
      this._render();
    },

    _render() {
      if (!this._conference.self) return;
      this.setData(view(this._conference, { asks: this._asks, hasAsked: this._hasAsked }, this._words));
    },

    /** Tells the page what was refused. */
    _try(promise) {
      return promise.catch((error) => {
        this.triggerEvent('trouble', { error, text: refusalText(error, this._words) });
      });
    },

    _own() {
      return Array.from(this._conference.publications.values())[0];
    },

    onMic() {
      const own = this._own();
      return own && this._try(own.setMedia({ audio: !own.audio }));
    },

    onCamera() {
      const own = this._own();
      return own && this._try(own.setMedia({ video: !own.video }));
    },

    onTurn() {
      const pusher = this.selectComponent('#own');
      if (pusher) pusher.switchCamera();
    },

    onSpeak() {
      this._wanted.audience = false;
      return this._publish();
    },

    /** An audience member asks the ADMINs. */
    onAsk() {
      const admins = Array.from(this._conference.members.values()).filter(({ role }) => role === Role.ADMIN);
      this._wanted.audience = false;
      this._hasAsked = true;
      this._render();
      return this._try(this._conference.send({ kind: ASK }, { to: admins.map(({ id }) => id) }));
    },

    /** A tap on the hint over a picture: permissions are given in the settings, all else is tried again. */
    onHint({ currentTarget }) {
      const { key } = currentTarget.dataset;
      const track = tracks.get(key);
      if (!track || track.state.name !== 'failed') return;
      if (track.state.part === 'camera' || track.state.part === 'microphone') wx.openSetting({ success: () => track.retry() });
      else track.retry();
    },

    onPeople() {
      this.setData({ isPeopleOpen: !this.data.isPeopleOpen });
    },

    onKick({ currentTarget }) {
      return this._try(this._conference.kick([currentTarget.dataset.user]));
    },

    onRole({ currentTarget }) {
      const { user, role } = currentTarget.dataset;
      this._asks = this._asks.filter((name) => name !== user);
      return this._try(this._conference.setRole([user], Number(role)));
    },

    onMute({ currentTarget }) {
      const { user, muted } = currentTarget.dataset;
      return this._try(this._conference.mute([user], { audio: !muted }));
    },

    onHangUp() {
      return this._try(this._conference.leave());
    },

    onEnd() {
      return this._try(this._conference.end());
    },
  },
});
