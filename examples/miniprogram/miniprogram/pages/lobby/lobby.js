const { Role } = require('../../lib/tidegate/tidegate.js');
const { texts } = require('../../lib/texts');

Page({
  data: { user: '', room: '', password: '', watches: false, cameraOff: false, texts: {} },

  onLoad({ room }) {
    this._words = texts();
    this.setData({ texts: JSON.parse(JSON.stringify(this._words)), room: room || '', user: wx.getStorageSync('user') || '' });
  },

  onInput({ currentTarget, detail }) {
    this.setData({ [currentTarget.dataset.field]: detail.value });
  },

  onEnter() {
    const { user, room, password, watches, cameraOff } = this.data;
    if (!user.trim() || !room.trim()) {
      wx.showToast({ title: this._words.missing, icon: 'none' });
      return;
    }
    wx.setStorageSync('user', user.trim());
    getApp().globalData.call = {
      user: user.trim(),
      target: {
        roomName: room.trim(),
        password,
        role: watches ? Role.AUDIENCE : Role.TALKER,
        config: { nickName: user.trim() },
      },
      wanted: { video: !cameraOff, audio: true, audience: watches },
    };
    wx.navigateTo({ url: '/pages/call/call' });
  },

  onShareAppMessage() {
    return { title: this._words.title, path: `/pages/lobby/lobby?room=${encodeURIComponent(this.data.room)}` };
  },
});
