// Calls of the API with the app key. The key lives in this tab's session storage and nowhere else.

import { inTab } from './kept';

export type Role = 7 | 3 | 1;

export interface Member {
  id: string;
  name: string;
  nickName: string | null;
  role: Role;
  muted: { audio: boolean; video: boolean };
  joinedAt: string;
}

export interface Stream {
  id: string;
  rtcId: string;
  memId: string;
  owner: Member | null;
  type: 0 | 1;
  voff: 0 | 1;
  aoff: 0 | 1;
  live: boolean;
  video: { codec: string; width?: number; height?: number } | null;
  audio: { codec: string; sampleRate?: number; channels?: number } | null;
}

export interface Conference {
  confrId: string;
  type: 10 | 11 | 12;
  roomName: string | null;
  groupId?: string;
  createdAt: string;
  seq: number;
  members: Member[];
  audienceCount: number;
  streams: Stream[];
  limits: { maxTalkerCount: number; maxVideoCount: number; maxAudienceCount: number };
}

export interface Stats {
  live: boolean;
  videoBitrateBps: number;
  audioBitrateBps: number;
  fps: number;
  keyframeGapMs: number | null;
  viewers: number;
  droppedPackets: number;
  skips: number;
  addedDelayMs: number | null;
  addedDelayMaxMs: number | null;
  heldBack: { audio: boolean; video: boolean };
}

export interface Sample {
  at: string;
  conferences: number;
  members: number;
  streams: number;
  viewers: number;
  receivedBitrateBps: number;
  sentBitrateBps: number;
  refused: number;
}

export interface Overview {
  appId: string;
  version: string;
  at: string;
  conferences: number;
  members: number;
  streams: number;
  viewers: number;
  webhooks: { targetId: string; waitingConferences: number; lagMs: number }[];
  sampleMs: number;
  history: Sample[];
}

export interface Target {
  id: string;
  url: string;
  events: string[] | null;
  enabled: boolean;
}

export interface DeadLetter {
  id: string;
  targetId: string;
  confrId: string;
  fromSeq: number;
  toSeq: number;
  firstFailureAt: string;
  lastFailureAt: string;
  lastError: string;
  attempts: number;
  replaying: boolean;
}

export interface FeedEvent {
  type: string;
  seq: number;
  at: string;
  member?: Member;
  stream?: Stream;
  from?: Member | null;
  body?: unknown;
  reason?: number | string;
  /** Why the gateway lets nobody in here, by its word for it: nothing has happened in the conference. */
  failed?: string;
}

const KEY = 'key';
/** Conferences that are read at most: an operator with more looks for one by its id. */
const CONFERENCES_MAX = 500;
/** The gateway answers in milliseconds. A connection that is gone without a word would hold a page for minutes. */
const ANSWER_MAX_MS = 20_000;

/** A "no" of the gateway, or `network` where it did not answer. */
export class ApiError extends Error {
  constructor(
    readonly reason: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The gateway's address, one level above /console/. */
export const root = new URL('../', location.href.split('#')[0]);

let key = inTab.get(KEY) ?? '';
let rejected: () => void = () => {};

export function isLoggedIn(): boolean {
  return key !== '';
}

/** Calls `heard` when the gateway no longer takes the key. */
export function onRejected(heard: () => void): void {
  rejected = heard;
}

/** Keeps the key if the gateway takes it. */
export async function logIn(given: string): Promise<void> {
  // What no header can carry is no key.
  if (!/^[\x21-\x7e]+$/.test(given)) throw new ApiError('unauthenticated', 401, 'a key has letters, digits, a dot, - and _ only');
  await send('GET', 'v1/overview', undefined, given);
  key = given;
  inTab.set(KEY, given);
}

export function logOut(): void {
  key = '';
  inTab.remove(KEY);
}

async function send<T>(method: string, path: string, body: unknown, bearer: string): Promise<T> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), ANSWER_MAX_MS);
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(new URL(path, root), {
      method,
      headers: { authorization: `Bearer ${bearer}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      signal: silence.signal,
    });
    text = await answer.text();
  } catch (error) {
    throw new ApiError('network', 0, String(error));
  } finally {
    clearTimeout(timer);
  }
  let read: unknown = null;
  try {
    if (text !== '') read = JSON.parse(text);
  } catch {
    // Something in between answered.
    throw new ApiError('network', answer.status, `${answer.status}`);
  }
  if (answer.ok) return read as T;
  const problem = (read ?? {}) as { reason?: string; detail?: string };
  throw new ApiError(problem.reason ?? 'network', answer.status, problem.detail ?? `${answer.status}`);
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const bearer = key;
  try {
    return await send<T>(method, path, body, bearer);
  } catch (error) {
    // What a key of before is told says nothing of the one of now.
    if (error instanceof ApiError && error.status === 401 && bearer === key) rejected();
    throw error;
  }
}

export const at = (id: string) => `v1/conferences/${encodeURIComponent(id)}`;

/** All conferences of the app, up to a bound. */
export async function conferences(): Promise<{ list: Conference[]; isCut: boolean }> {
  const list: Conference[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page: { conferences: Conference[]; nextCursor: string | null } = await call('GET', `v1/conferences?limit=100${query}`);
    list.push(...page.conferences);
    cursor = page.nextCursor;
  } while (cursor !== null && list.length < CONFERENCES_MAX);
  list.sort((one, other) => other.createdAt.localeCompare(one.createdAt));
  return { list, isCut: cursor !== null };
}

/** The feed of a conference. The key goes as a subprotocol: a browser sets no headers on a socket, and no log of URLs sees it. */
export function openFeed(id: string, after: number | null): WebSocket {
  const url = new URL(`${at(id)}/events${after === null ? '' : `?after=${after}`}`, root);
  url.protocol = url.protocol.replace('http', 'ws');
  return new WebSocket(url, [`tidegate.${key}`]);
}
