'use strict';

/** The codes of faults that no gateway answered, as emedia clients know them. */
const CLIENT_CODES = {
  network: -9527,
  timeout: -408,
  aborted: -409,
  not_joined: -504,
  invalid_request: -200,
  invalid_answer: -500,
};

/**
 * A "no", from the gateway or from the way to it.
 *
 * `reason` is a stable word to decide by: the gateway's (`wrong_password`, `member_gone`, …), or one of the SDK:
 * `network`, `timeout`, `aborted` (left while it was under way), `not_joined`, `invalid_request`, `invalid_answer`.
 * `code` is the number that emedia clients know, `status` the HTTP status or 0, `message` a sentence for people.
 */
class TidegateError extends Error {
  constructor(reason, message, details) {
    super(message);
    const known = details || {};
    this.name = 'TidegateError';
    this.reason = reason;
    this.code = known.code === undefined ? CLIENT_CODES[reason] : known.code;
    this.status = known.status || 0;
    /** How long the gateway wants to be left alone; null where it did not say. */
    this.retryAfterMs = known.retryAfterMs === undefined ? null : known.retryAfterMs;
    /** Names the request in the gateway's log. */
    this.requestId = known.requestId || null;
  }

  /** Whether the same again, later, may work. */
  get isPassing() {
    return this.status === 429 || this.status === 503 || this.reason === 'network' || this.reason === 'timeout';
  }
}

/** The error that a refused answer stands for. */
function refusal(answer) {
  const { status, body } = answer;
  const problem = body && typeof body === 'object' ? body : {};
  const seconds = Number(answer.headers['retry-after']);
  return new TidegateError(problem.reason || 'invalid_answer', problem.detail || `the gateway answered ${status}`, {
    code: typeof problem.code === 'number' ? problem.code : undefined,
    status,
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : null,
    requestId: problem.requestId || answer.headers['x-request-id'],
  });
}

module.exports = { TidegateError, refusal };
