const { Conference } = require('../../lib/tidegate/tidegate.js');
const { apiURL } = require('../../config');
const { getToken } = require('../../lib/backend');
const { texts, refusalText } = require('../../lib/texts');

Page({
  data: { notice: '' },

  async onLoad() {
    const { call } = getApp().globalData;
    this._words = texts();
    if (!call) {
      wx.reLaunch({ url: '/pages/lobby/lobby' });
      return;
    }
    wx.setKeepScreenOn({ keepScreenOn: true });
    this.setData({ notice: this._words.joining });
    this._conference = new Conference({ apiURL, getToken: () => getToken(call.user) });
    try {
      await this._conference.join(call.target);
      this.setData({ notice: '' });
      this.selectComponent('#room').begin(this._conference, call.wanted);
    } catch (error) {
      // The page was left while it joined.
      if (error.reason !== 'aborted') this.setData({ notice: refusalText(error, this._words) });
    }
  },

  onUnload() {
    wx.setKeepScreenOn({ keepScreenOn: false });
    if (this._conference) this._conference.leave().catch(() => {});
  },

  onLeft({ detail }) {
    if (detail.reason === 0) wx.navigateBack();
    else this.setData({ notice: detail.text });
  },

  onTrouble({ detail }) {
    wx.showToast({ title: detail.text, icon: 'none' });
  },
});
