'use strict';

/** Places for what a platform allows a few of at once; whoever finds none waits its turn. */
class Slots {
  constructor(count) {
    this._free = count;
    this._waiting = [];
  }

  /**
   * Calls `enter` with a function that frees the place again: at once, or when one is free. The answer gives up
   * waiting, or frees the place.
   */
  take(enter) {
    const entry = { state: 'waiting', enter };
    const release = () => {
      if (entry.state === 'inside') this._leave();
      entry.state = 'over';
    };
    entry.release = release;
    if (this._free > 0) this._let(entry);
    else this._waiting.push(entry);
    return release;
  }

  _let(entry) {
    this._free -= 1;
    entry.state = 'inside';
    entry.enter(entry.release);
  }

  _leave() {
    this._free += 1;
    for (let next = this._waiting.shift(); next; next = this._waiting.shift()) {
      if (next.state === 'waiting') return this._let(next);
    }
  }
}

module.exports = { Slots };
