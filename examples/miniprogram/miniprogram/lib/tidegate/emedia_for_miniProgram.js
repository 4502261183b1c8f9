// Tidegate client. Apache-2.0. Made from sdk/js/src by sdk/js/tools/bundle.js: change it there.
'use strict';

/* global wx */

const { emedia } = require('./tidegate.js');

// emedia's apps also reach it as wx.emedia.
if (typeof wx !== 'undefined' && !wx.emedia) {
  try {
    wx.emedia = emedia;
  } catch (_) {
    // A wx that takes nothing new is used by the name that required this.
  }
}

module.exports = emedia;
