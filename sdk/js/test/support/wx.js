'use strict';

const WebSocket = require('ws');

/** The methods that `wx.request` has; anything else fails there, and so here. */
const METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT'];
const REQUESTS_MAX = 10;
const SOCKETS_MAX = 5;

/**
 * WeChat's `wx` over node: `request` by fetch, `connectSocket` by ws, with WeChat's limits, which fail here as they
 * do there. `app` plays WeChat itself: shows and hides the mini program, and changes the network.
 */
function makeWx() {
  const listeners = new Map();
  const counts = { requests: 0, sockets: 0, requestsPeak: 0, socketsPeak: 0 };
  const log = [];
  const sockets = new Set();

  function on(name) {
    return (heard) => {
      listeners.set(name, (listeners.get(name) || []).concat(heard));
    };
  }
  function off(name) {
    return (heard) => listeners.set(name, (listeners.get(name) || []).filter((one) => one !== heard));
  }
  function emit(name, value) {
    for (const heard of listeners.get(name) || []) heard(value);
  }

  function request({ url, method = 'GET', header, data, timeout, success, fail, complete }) {
    const told = (callback, value) => {
      if (callback) callback(value);
      if (complete) complete(value);
    };
    if (!METHODS.includes(method)) return told(fail, { errMsg: `request:fail invalid method ${method}` });
    if (counts.requests >= REQUESTS_MAX) return told(fail, { errMsg: 'request:fail exceed max concurrent' });
    counts.requests += 1;
    counts.requestsPeak = Math.max(counts.requestsPeak, counts.requests);
    log.push({ method, url, header });
    // WeChat sends objects as JSON.
    const body = data !== null && typeof data === 'object' ? JSON.stringify(data) : data;
    fetch(url, { method, headers: header, body, signal: AbortSignal.timeout(timeout || 60000) })
      .then(async (answer) => ({ statusCode: answer.status, header: Object.fromEntries(answer.headers), text: await answer.text() }))
      .then(({ statusCode, header: headers, text }) => {
        counts.requests -= 1;
        let parsed = text;
        try {
          parsed = JSON.parse(text);
        } catch (_) {
          // As WeChat does: what is no JSON stays text.
        }
        told(success, { statusCode, header: headers, data: parsed, errMsg: 'request:ok' });
      }, (error) => {
        counts.requests -= 1;
        told(fail, { errMsg: error.name === 'TimeoutError' ? 'request:fail timeout' : `request:fail ${error.message}` });
      });
    return undefined;
  }

  function connectSocket({ url, header, protocols, fail }) {
    const heard = { Open: [], Message: [], Error: [], Close: [] };
    const tell = (name, value) => heard[name].forEach((one) => one(value));
    const task = {
      send: ({ data, fail: failed }) => {
        if (socket && socket.readyState === WebSocket.OPEN) socket.send(data);
        else if (failed) failed({ errMsg: 'sendSocketMessage:fail' });
      },
      close: ({ code } = {}) => socket && socket.close(code),
    };
    for (const name of Object.keys(heard)) task[`on${name}`] = (one) => heard[name].push(one);
    let socket = null;
    if (counts.sockets >= SOCKETS_MAX) {
      setTimeout(() => fail && fail({ errMsg: 'connectSocket:fail exceed max sockets' }), 0);
      return task;
    }
    counts.sockets += 1;
    counts.socketsPeak = Math.max(counts.socketsPeak, counts.sockets);
    log.push({ method: 'SOCKET', url, header });
    socket = new WebSocket(url, protocols, { headers: header });
    sockets.add(socket);
    socket.on('open', () => tell('Open', {}));
    socket.on('message', (data) => tell('Message', { data: data.toString() }));
    socket.on('error', (error) => tell('Error', { errMsg: error.message }));
    socket.on('close', (code, reason) => {
      counts.sockets -= 1;
      sockets.delete(socket);
      tell('Close', { code, reason: reason.toString() });
    });
    return task;
  }

  const wx = { request, connectSocket };
  for (const name of ['AppShow', 'AppHide', 'NetworkStatusChange', 'AudioInterruptionBegin', 'AudioInterruptionEnd']) {
    wx[`on${name}`] = on(name);
    wx[`off${name}`] = off(name);
  }
  const app = {
    counts,
    log,
    show: () => emit('AppShow', {}),
    hide: () => emit('AppHide', {}),
    network: (isConnected) => emit('NetworkStatusChange', { isConnected, networkType: isConnected ? 'wifi' : 'none' }),
    phoneCall: (isOn) => emit(isOn ? 'AudioInterruptionBegin' : 'AudioInterruptionEnd', {}),
    /** The network goes away under all sockets. */
    cutSockets: () => sockets.forEach((socket) => socket.terminate()),
  };
  return { wx, app };
}

module.exports = { makeWx };
