'use strict';

const { TidegateError } = require('./errors');

/**
 * Events that an iterator may be behind. A loop that long asleep has lost touch; it is told so instead of filling
 * memory.
 */
const ITERATOR_BACKLOG_MAX = 1024;

/**
 * Named events to handlers, and to `for await` loops.
 *
 * A handler that throws does not keep an event from the others: its error is thrown again from a timer, where the
 * app's global error handler sees it.
 */
class Emitter {
  constructor() {
    this._handlers = new Map();
    this._iterators = new Set();
    this._isFinished = false;
  }

  /** Calls `handler` for each event of that name; the answer takes it back. */
  on(name, handler) {
    if (typeof handler !== 'function') throw new TypeError('a handler is a function');
    const handlers = this._handlers.get(name) || [];
    this._handlers.set(name, handlers.concat(handler));
    return () => this.off(name, handler);
  }

  /** The same for one event. */
  once(name, handler) {
    const off = this.on(name, (event) => {
      off();
      handler(event);
    });
    return off;
  }

  /** Without `handler`: all of that name. */
  off(name, handler) {
    const handlers = this._handlers.get(name) || [];
    this._handlers.set(name, handler ? handlers.filter((known) => known !== handler) : []);
  }

  /**
   * The events from now on, each `{ type, … }`, until there are no more. Leaving the loop takes it back. One that is
   * more than a thousand events behind ends with an error.
   */
  events() {
    const iterator = new EventIterator(() => this._iterators.delete(iterator));
    if (this._isFinished) iterator.finish();
    else this._iterators.add(iterator);
    return iterator;
  }

  emit(name, event) {
    for (const handler of this._handlers.get(name) || []) call(handler, event);
    const told = Object.assign({ type: name }, event);
    for (const iterator of Array.from(this._iterators)) iterator.push(told);
  }

  /** Nothing follows: iterators end. */
  finish() {
    this._isFinished = true;
    for (const iterator of Array.from(this._iterators)) iterator.finish();
    this._iterators.clear();
  }
}

/** Runs a handler of the app; what it throws goes to the app's global error handler. */
function call(handler, ...values) {
  try {
    handler(...values);
  } catch (error) {
    setTimeout(() => {
      throw error;
    }, 0);
  }
}

class EventIterator {
  constructor(onReturn) {
    this._backlog = [];
    this._waiting = [];
    this._end = null;
    this._onReturn = onReturn;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (this._backlog.length > 0) return Promise.resolve({ value: this._backlog.shift(), done: false });
    if (this._end) return this._end.error ? Promise.reject(this._end.error) : Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this._waiting.push({ resolve, reject }));
  }

  return() {
    this._backlog = [];
    this.finish();
    this._onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  push(event) {
    if (this._end) return;
    const waiting = this._waiting.shift();
    if (waiting) {
      waiting.resolve({ value: event, done: false });
    } else if (this._backlog.length < ITERATOR_BACKLOG_MAX) {
      this._backlog.push(event);
    } else {
      this._end = { error: new TidegateError('invalid_request', 'this loop fell too far behind the events; begin a new one') };
      this._onReturn();
    }
  }

  finish() {
    if (this._end) return;
    this._end = { error: null };
    for (const waiting of this._waiting.splice(0)) waiting.resolve({ value: undefined, done: true });
  }
}

module.exports = { Emitter, call };
