'use strict';

const { TidegateError } = require('../errors');
const { Slots } = require('../slots');

/** WeChat allows this many requests at once. */
const REQUESTS_MAX = 10;
/** WeChat allows this many sockets at once. */
const SOCKETS_MAX = 5;
/** How long a socket may take to open. */
const SOCKET_TIMEOUT_MS = 10000;

const platforms = new WeakMap();

/**
 * WeChat's `wx`, as the SDK needs it. All that is made for one `wx` share its places for requests and sockets.
 */
function wxPlatform(wx) {
  if (!platforms.has(wx)) platforms.set(wx, make(wx));
  return platforms.get(wx);
}

function make(wx) {
  return {
    name: 'wx',
    /** What the gateway is told at a join. */
    client: 'miniProgram',
    /** `wx.request` has no PATCH. */
    methods: new Set(['GET', 'POST', 'PUT', 'DELETE']),
    requestSlots: new Slots(REQUESTS_MAX),
    socketSlots: new Slots(SOCKETS_MAX),
    now: Date.now,
    random: Math.random,
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    request: (request) => send(wx, request),
    openSocket: (wanted, handlers) => open(wx, wanted, handlers),
    onShow: listener(wx, 'onAppShow', 'offAppShow'),
    onHide: listener(wx, 'onAppHide', 'offAppHide'),
    onNetwork: (heard) => listener(wx, 'onNetworkStatusChange', 'offNetworkStatusChange')((status) => heard(status.isConnected)),
    onInterruptionBegin: listener(wx, 'onAudioInterruptionBegin', 'offAudioInterruptionBegin'),
    onInterruptionEnd: listener(wx, 'onAudioInterruptionEnd', 'offAudioInterruptionEnd'),
  };
}

/** Listens by `wx[on]` where this version of WeChat has it; the answer stops that. */
function listener(wx, on, off) {
  return (heard) => {
    if (typeof wx[on] !== 'function') return () => {};
    wx[on](heard);
    return () => typeof wx[off] === 'function' && wx[off](heard);
  };
}

function send(wx, { url, method, headers, body, timeoutMs }) {
  return new Promise((resolve, reject) => {
    wx.request({
      url,
      method,
      header: headers,
      data: body === undefined ? undefined : JSON.stringify(body),
      timeout: timeoutMs,
      success: ({ statusCode, header, data }) => {
        const lower = {};
        for (const name of Object.keys(header || {})) lower[name.toLowerCase()] = String(header[name]);
        resolve({ status: statusCode, headers: lower, body: data === '' ? null : data });
      },
      fail: ({ errMsg }) => reject(fault(errMsg)),
    });
  });
}

function fault(errMsg) {
  const text = String(errMsg);
  if (/timeout/i.test(text)) return new TidegateError('timeout', `the gateway did not answer in time: ${text}`);
  const hint = /domain list|url not in/i.test(text)
    ? '; add the gateway to the request and socket domains of the mini program'
    : '';
  return new TidegateError('network', `the gateway could not be reached: ${text}${hint}`);
}

function open(wx, { url, token }, handlers) {
  let over = false;
  const close = (code, reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    handlers.close(code, reason);
  };
  const timer = setTimeout(() => {
    close(1006, 'the socket did not open in time');
    task.close({});
  }, SOCKET_TIMEOUT_MS);
  const task = wx.connectSocket({
    url,
    header: { authorization: `Bearer ${token}` },
    timeout: SOCKET_TIMEOUT_MS,
    fail: ({ errMsg }) => close(1006, errMsg),
  });
  task.onOpen(() => {
    clearTimeout(timer);
    if (!over) handlers.open();
  });
  task.onMessage(({ data }) => {
    if (!over) handlers.message(data);
  });
  // A fault is sometimes followed by a close, and sometimes not.
  task.onError(({ errMsg }) => close(1006, errMsg));
  task.onClose(({ code, reason }) => close(code === undefined ? 1006 : code, reason));
  return {
    send: (text) => task.send({ data: text, fail: ({ errMsg }) => close(1006, errMsg) }),
    /** Nothing is told of this socket any more. */
    close: () => {
      over = true;
      clearTimeout(timer);
      task.close({ code: 1000 });
    },
  };
}

module.exports = { wxPlatform };
