'use strict';

const { TidegateError, refusal } = require('./errors');
const { Backoff } = require('./backoff');

/** One attempt. Ten seconds: several round trips of a poor network. */
const TIMEOUT_MS = 10000;
/** All attempts of a request together; a person does not wait longer for a button. */
const PATIENCE_MS = 30000;
const ATTEMPTS_MAX = 5;

/**
 * Requests to the control API: queued where the platform allows only so many, repeated while the trouble passes.
 *
 * What creates something carries an `Idempotency-Key`, so that a repeat after a lost answer takes effect once.
 */
class Requests {
  constructor(platform, apiURL) {
    if (!/^https?:\/\//.test(apiURL || '')) {
      throw new TidegateError('invalid_request', 'apiURL: the http(s) address of the gateway, such as https://rtc.example.com');
    }
    this._platform = platform;
    this._base = apiURL.replace(/\/+$/, '');
  }

  /**
   * Answers the body of a 2xx; everything else is a TidegateError. `once` is for what must not be repeated, `creates`
   * for what needs a key to be.
   */
  async send({ method, path, token, body, creates, once }) {
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (creates) headers['idempotency-key'] = this.key();
    const request = this._platform.methods.has(method) ? { method } : { method: 'POST' };
    if (request.method !== method) headers['x-http-method-override'] = method;
    Object.assign(request, { url: this._base + path, headers, body, timeoutMs: TIMEOUT_MS });
    return this._repeat(request, once ? 1 : ATTEMPTS_MAX);
  }

  async _repeat(request, attemptsMax) {
    const { now, random } = this._platform;
    const backoff = new Backoff(random, { longestMs: 5000 });
    const deadline = now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this._attempt(request);
      } catch (error) {
        const wait = Math.max(backoff.next(), error.retryAfterMs || 0);
        if (!error.isPassing || backoff.attempts >= attemptsMax || now() + wait > deadline) throw error;
        await new Promise((resolve) => this._platform.setTimer(resolve, wait));
      }
    }
  }

  _attempt(request) {
    return new Promise((resolve, reject) => {
      this._platform.requestSlots.take((release) => {
        const settled = (settle) => (value) => {
          release();
          settle(value);
        };
        this._platform.request(request).then(settled(resolve), settled(reject));
      });
    }).then((answer) => {
      if (answer.status >= 200 && answer.status < 300) return answer.body;
      throw refusal(answer);
    });
  }

  /** A text that nobody else draws. */
  key() {
    let key = '';
    while (key.length < 24) key += Math.floor(this._platform.random() * 36).toString(36);
    return key;
  }
}

module.exports = { Requests };
