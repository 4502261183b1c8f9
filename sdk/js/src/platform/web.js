'use strict';

const { TidegateError } = require('../errors');
const { Slots } = require('../slots');

/** Browsers queue by themselves; this keeps a page from asking for everything at once. */
const REQUESTS_MAX = 10;
const SOCKETS_MAX = 5;
const SOCKET_TIMEOUT_MS = 10000;

/**
 * A browser, or node with a `WebSocket` such as that of the `ws` package.
 *
 * `options`: `{ fetch, WebSocket, window }`, each the global one where absent.
 */
function webPlatform(options) {
  const given = options || {};
  const fetch = given.fetch || globalOf('fetch');
  const WebSocket = given.WebSocket || globalOf('WebSocket');
  const page = given.window || globalOf('window');
  if (!fetch || !WebSocket) {
    const way = 'name them in webPlatform({ fetch, WebSocket })';
    throw new TidegateError('invalid_request', `this platform has no fetch or no WebSocket: ${way}`);
  }
  return {
    name: 'web',
    client: 'web',
    methods: new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
    requestSlots: new Slots(REQUESTS_MAX),
    socketSlots: new Slots(SOCKETS_MAX),
    now: Date.now,
    random: Math.random,
    setTimer: (run, ms) => setTimeout(run, ms),
    clearTimer: (timer) => clearTimeout(timer),
    request: (request) => send(fetch, request),
    openSocket: (wanted, handlers) => open(WebSocket, wanted, handlers),
    onShow: (heard) => visibility(page, (visible) => visible && heard()),
    onHide: (heard) => visibility(page, (visible) => !visible && heard()),
    onNetwork: (heard) => {
      const offs = [listen(page, 'online', () => heard(true)), listen(page, 'offline', () => heard(false))];
      return () => offs.forEach((off) => off());
    },
    onInterruptionBegin: () => () => {},
    onInterruptionEnd: () => () => {},
  };
}

function globalOf(name) {
  const home = typeof globalThis !== 'undefined' ? globalThis : typeof window !== 'undefined' ? window : {};
  const value = home[name];
  return name === 'fetch' && value ? value.bind(home) : value;
}

function listen(target, name, heard) {
  if (!target || !target.addEventListener) return () => {};
  target.addEventListener(name, heard);
  return () => target.removeEventListener(name, heard);
}

function visibility(page, heard) {
  const document = page && page.document;
  return listen(document, 'visibilitychange', () => heard(document.visibilityState === 'visible'));
}

async function send(fetch, { url, method, headers, body, timeoutMs }) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new TidegateError('timeout', 'the gateway did not answer in time')), timeoutMs);
  });
  const answered = fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) })
    .then(async (answer) => {
      const lower = {};
      answer.headers.forEach((value, name) => {
        lower[name.toLowerCase()] = value;
      });
      return { status: answer.status, headers: lower, body: parsed(await answer.text()) };
    })
    .catch((error) => {
      throw new TidegateError('network', `the gateway could not be reached: ${(error.cause && error.cause.message) || error.message}`);
    });
  try {
    return await Promise.race([answered, late]);
  } finally {
    clearTimeout(timer);
    answered.catch(() => {});
  }
}

function parsed(text) {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch (_) {
    return text;
  }
}

function open(WebSocket, { url, token }, handlers) {
  // A browser sets no headers on a socket: the token goes as a subprotocol, where no log of URLs sees it.
  const socket = new WebSocket(url, [`tidegate.${token}`]);
  let over = false;
  const close = (code, reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    handlers.close(code, reason);
  };
  const timer = setTimeout(() => {
    close(1006, 'the socket did not open in time');
    socket.close();
  }, SOCKET_TIMEOUT_MS);
  socket.onopen = () => {
    clearTimeout(timer);
    if (!over) handlers.open();
  };
  socket.onmessage = ({ data }) => {
    if (!over) handlers.message(data);
  };
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => close(code, reason);
  return {
    send: (text) => socket.readyState === 1 && socket.send(text),
    close: () => {
      over = true;
      clearTimeout(timer);
      socket.close(1000);
    },
  };
}

module.exports = { webPlatform };
