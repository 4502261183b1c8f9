import { createHmac, timingSafeEqual } from 'node:crypto';

/** Older messages are refused, so that one that was overheard cannot be played again later. */
const TOLERANCE_SECONDS = 300;
/**
 * Ids that are remembered: messages that come twice come soon after one another. A real backend keeps them beside
 * what it does.
 */
const SEEN_MAX = 10_000;

/** Whether `body` (a Buffer, as it came) was signed with `secret` not long ago. */
export function isGenuine(header, body, secret, nowSeconds = Date.now() / 1000) {
  const parts = String(header).split(',').map((part) => part.split('='));
  const time = parts.find(([key]) => key === 't')?.[1] ?? '';
  if (!/^\d+$/.test(time) || Math.abs(nowSeconds - Number(time)) > TOLERANCE_SECONDS) return false;
  const wanted = createHmac('sha256', secret).update(`${time}.`).update(body).digest();
  // While a secret is changed there are two signatures; one that fits is enough.
  return parts.some(([key, value]) => {
    const given = Buffer.from(key === 'v1' ? value ?? '' : '', 'hex');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

/** Hands each message on once: they come at least once. */
export class Inbox {
  constructor(take) {
    this.take = take;
    this.seen = new Set();
  }

  put(event) {
    if (this.seen.has(event.id)) return;
    this.take(event);
    this.seen.add(event.id);
    if (this.seen.size > SEEN_MAX) this.seen.delete(this.seen.values().next().value);
  }
}
