'use strict';

const { wxPlatform } = require('./wx');
const { webPlatform } = require('./web');

/* global wx */

let web;

/** WeChat's where there is a `wx`, else the browser's or node's. */
function defaultPlatform() {
  if (typeof wx !== 'undefined' && typeof wx.request === 'function') return wxPlatform(wx);
  web = web || webPlatform();
  return web;
}

module.exports = { defaultPlatform, wxPlatform, webPlatform };
