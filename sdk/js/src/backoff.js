'use strict';

/** The first wait: a cut is often over at once. */
const FIRST_MS = 300;
/** The longest wait. Fifteen seconds: a person looks at a frozen picture no longer, and the gateway is not hammered. */
const LONGEST_MS = 15000;

/**
 * Waits that double up to a cap. Each is drawn between half and all of its bound, so that phones that were cut
 * together do not come back together.
 */
class Backoff {
  constructor(random, bounds) {
    this._random = random;
    this._first = (bounds && bounds.firstMs) || FIRST_MS;
    this._longest = (bounds && bounds.longestMs) || LONGEST_MS;
    this.attempts = 0;
  }

  next() {
    const bound = Math.min(this._longest, this._first * Math.pow(2, Math.min(this.attempts, 16)));
    this.attempts += 1;
    return Math.round(bound / 2 + (bound / 2) * this._random());
  }

  reset() {
    this.attempts = 0;
  }
}

module.exports = { Backoff };
