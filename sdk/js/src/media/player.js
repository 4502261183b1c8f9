'use strict';

/**
 * What becomes of a live-player: a state and an input give the next state and what is to be done. Pure;
 * `subscription.js` does it.
 *
 * ```text
 * loading ──flowing──► playing ◄────────────┐
 *    │  ▲                │ retrying         │ flowing
 *    │  └── url ──┐      ▼                  │
 *    │            │   reconnecting ─────────┘
 *    │ refused, lost, ended   │
 *    └───────────►refreshing◄─┘           (a new URL is asked for, after a wait)
 *
 * any ──removed────► waiting   ──added────► refreshing    (nobody publishes it now)
 * any ──suspended──► suspended ──resumed──► loading
 * any ──over───────► stopped                              (closed, or the stay is over: never again)
 * ```
 *
 * What is to be done is `start`, `stop`, `refresh` or null.
 */
const LOAD = { name: 'loading' };

function player(state, input) {
  if (state.name === 'stopped') return { state, act: null };
  switch (input.type) {
    case 'over':
      return { state: { name: 'stopped', reason: input.reason || null }, act: 'stop' };
    case 'url':
      return { state: LOAD, act: 'start' };
    case 'removed':
      return { state: { name: 'waiting' }, act: state.name === 'waiting' ? null : 'stop' };
    case 'added':
      return state.name === 'waiting' ? { state: { name: 'refreshing' }, act: 'refresh' } : { state, act: null };
    case 'refuse':
      return { state: { name: 'failed', reason: input.reason }, act: 'stop' };
    case 'retry':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    case 'resumed':
      return state.name === 'suspended' ? { state: LOAD, act: 'start' } : { state, act: null };
    case 'code':
      return coded(state, input.word);
    default:
      return { state, act: null };
  }
}

function coded(state, word) {
  // Until there is a new URL the component only tells of what is known.
  if (['refreshing', 'waiting', 'failed'].includes(state.name)) return { state, act: null };
  if (state.name === 'suspended' && word !== 'flowing') return { state, act: null };
  switch (word) {
    case 'flowing':
      return { state: { name: 'playing' }, act: null };
    case 'loading':
      return state.name === 'reconnecting' ? { state, act: null } : { state: LOAD, act: null };
    case 'retrying':
      return { state: { name: 'reconnecting' }, act: null };
    case 'suspended':
      return { state: { name: 'suspended' }, act: null };
    case 'refused':
    case 'lost':
    case 'ended':
      return { state: { name: 'refreshing' }, act: 'refresh' };
    default:
      return { state, act: null };
  }
}

module.exports = { player };
