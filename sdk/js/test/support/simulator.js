'use strict';

const path = require('node:path');
const { JSDOM } = require('jsdom');
const { Component, livePusher, livePlayer } = require('./media');

const MINI_PROGRAM = path.join(__dirname, '../../../../examples/miniprogram/miniprogram');

/**
 * The components of the example in WeChat's simulator, with `bridge` for the network. live-pusher and live-player are
 * ffmpeg: their contexts start it with the URL of the component, and its codes come back as `bindstatechange` events.
 */
function openSimulator(bridge) {
  const { window } = new JSDOM('<!DOCTYPE html><body></body>');
  Object.assign(global, { window, document: window.document, CustomEvent: window.CustomEvent });
  const simulate = require('miniprogram-simulate');
  const log = [];
  const media = new Set();

  function context(component, make, url) {
    const ffmpeg = make();
    media.add(ffmpeg);
    ffmpeg.onCode = (code) => component.onStateChange({ detail: { code } });
    const start = () => ffmpeg.setUrl(component.data[url], () => ffmpeg.start());
    return { start, play: start, stop: () => ffmpeg.stop(), switchCamera: () => log.push('switchCamera') };
  }

  // The simulator has a wx of its own, whose network answers nothing.
  Object.assign(global.wx, bridge, {
    createLivePlayerContext: (id, component) => context(component, livePlayer, 'url'),
    getAppBaseInfo: () => ({ language: 'en' }),
    openSetting: ({ success }) => {
      log.push('openSetting');
      success();
    },
  });

  /** A component on a page; `pushers` gets the live-pusher of that page. */
  function open(name) {
    const id = simulate.load(path.join(MINI_PROGRAM, 'components', name, name), name, { rootPath: MINI_PROGRAM });
    const component = simulate.render(id);
    // There is one live-pusher on a page: its context finds it by itself.
    global.wx.createLivePusherContext = () => {
      const holder = component.querySelector('#own');
      return context(holder.instance, livePusher, 'url');
    };
    const parent = document.createElement('div');
    document.body.append(parent);
    component.attach(parent);
    return component;
  }

  return { open, log, media, module: (name) => require(path.join(MINI_PROGRAM, name)), stop: () => media.forEach((ffmpeg) => ffmpeg.stop()) };
}

module.exports = { openSimulator, Component };
