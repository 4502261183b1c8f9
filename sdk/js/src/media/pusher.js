'use strict';

/**
 * What becomes of a live-pusher: a state and an input give the next state and what is to be done. Pure;
 * `publication.js` does it.
 *
 * ```text
 * starting ──flowing──► live ◄──────────────┐
 *    │  ▲                │ retrying         │ flowing
 *    │  └── url ──┐      ▼                  │
 *    │            │   reconnecting ─────────┘
 *    │ refused, lost      │ refused, lost
 *    └───────────►refreshing◄┘            (a new URL is asked for, after a wait)
 *
 * any ──suspended──► suspended ──resumed──► starting
 * any ──broken─────► failed    ──retry────► refreshing
 * any ──over───────► stopped                (left, kicked, no longer a TALKER, ended: never again)
 * ```
 *
 * States are `{ name, part?, reason? }`; what is to be done is `start`, `stop`, `refresh` or null.
 */
const START = { name: 'starting' };

function pusher(state, input) {
  if (state.name === 'stopped') return { state, act: null };
  switch (input.type) {
    case 'over':
      return { state: { name: 'stopped', reason: input.reason || null }, act: 'stop' };
    case 'url':
      return { state: START, act: 'start' };
    case 'refuse':
      return { state: { name: 'failed', part: null, reason: input.reason }, act: 'stop' };
    case 'retry':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    case 'resumed':
      return state.name === 'suspended' ? { state: START, act: 'start' } : { state, act: null };
    case 'code':
      return coded(state, input.word);
    default:
      return { state, act: null };
  }
}

function coded(state, word) {
  const broken = /^broken:(.*)$/.exec(word || '');
  // Until there is a new URL, or the user has acted, the component only tells of what is known.
  const isWaiting = state.name === 'refreshing' || state.name === 'failed';
  if (broken) return { state: { name: 'failed', part: broken[1], reason: 'device' }, act: state.name === 'failed' ? null : 'stop' };
  if (word === 'suspended') return { state: { name: 'suspended' }, act: null };
  if (isWaiting || (state.name === 'suspended' && word !== 'flowing')) return { state, act: null };
  switch (word) {
    case 'flowing':
      return { state: { name: 'live' }, act: null };
    case 'retrying':
      return { state: { name: 'reconnecting' }, act: null };
    case 'refused':
    case 'lost':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    default:
      return { state, act: null };
  }
}

module.exports = { pusher };
