'use strict';

/** Longer than anything here takes on a busy machine: only what never comes waits so long. */
const PATIENCE_MS = 30000;

/** The first event of that name for which `fits` holds; an error where it does not come. */
function next(emitter, name, fits = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      off();
      reject(new Error(`no ${name} came`));
    }, PATIENCE_MS);
    const off = emitter.on(name, (event) => {
      if (!fits(event)) return;
      clearTimeout(timer);
      off();
      resolve(event);
    });
  });
}

/** When a track is in that state. */
async function inState(track, name) {
  if (track.state.name !== name) await next(track, 'change', ({ state }) => state.name === name);
  return track.state;
}

/** A promise with its resolve outside, for callbacks. */
function later(what) {
  let settle;
  const promise = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE_MS);
    settle = (value) => {
      clearTimeout(timer);
      resolve(value);
    };
  });
  // Whoever waits hears of it, and nobody else.
  promise.catch(() => {});
  return { promise, resolve: settle };
}

module.exports = { next, inState, later };
