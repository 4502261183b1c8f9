'use strict';

const { call } = require('../emitter');

/**
 * Makes a method that answers a promise take callbacks too: `{ success, fail (or error), complete }` as the last
 * argument, or one or two functions (success, fail). `options`: the method's only argument may hold them beside its
 * own fields.
 */
function alike(method) {
  return function withCallbacks(...args) {
    const { rest, success, fail, complete } = split(args);
    const promise = Promise.resolve().then(() => method.apply(this, rest));
    if (!success && !fail && !complete) return promise;
    promise.then(
      (value) => {
        if (success) call(success, value);
        if (complete) call(complete, value);
      },
      (error) => {
        if (fail) call(fail, error);
        if (complete) call(complete, error);
      }
    );
    return promise;
  };
}

function split(args) {
  const last = args[args.length - 1];
  if (typeof last === 'function') {
    const before = args[args.length - 2];
    const two = typeof before === 'function';
    return { rest: args.slice(0, two ? -2 : -1), success: two ? before : last, fail: two ? last : undefined };
  }
  if (!hasCallbacks(last)) return { rest: args };
  const { success, fail, error, complete } = last;
  const own = Object.assign({}, last);
  for (const name of ['success', 'fail', 'error', 'complete']) delete own[name];
  const rest = Object.keys(own).length > 0 ? args.slice(0, -1).concat(own) : args.slice(0, -1);
  return { rest, success, fail: fail || error, complete };
}

function hasCallbacks(value) {
  if (typeof value !== 'object' || value === null) return false;
  return ['success', 'fail', 'error', 'complete'].some((name) => typeof value[name] === 'function');
}

module.exports = { alike };
