// The event feed of one conference, for as long as its page is open: resumed where it was cut.

import { useEffect, useState } from 'preact/hooks';
import { at, call, openFeed, type FeedEvent } from './api';

/** Events that are kept on the page. */
const KEPT_MAX = 200;
/** Of those that happened before, so many numbers back are read: about as many events as fit a screen or two. */
const BEFORE = 80;
const WAIT_MIN_MS = 500;
const WAIT_MAX_MS = 8000;

export interface Feed {
  /** The newest first. */
  events: FeedEvent[];
  isConnected: boolean;
  isOver: boolean;
}

/** Follows the conference; `changed` hears of each event, and of each connection that begins or is lost, which may have missed some. */
export function useFeed(id: string, changed: () => void): Feed {
  const [feed, setFeed] = useState<Feed>({ events: [], isConnected: false, isOver: false });
  useEffect(() => {
    let socket: WebSocket | null = null;
    let timer = 0;
    let over = false;
    let seen = 0;
    let wait = WAIT_MIN_MS;
    const add = (events: FeedEvent[]) =>
      setFeed((before) => ({ ...before, events: [...events].reverse().concat(before.events).slice(0, KEPT_MAX) }));
    const end = () => {
      over = true;
      setFeed((before) => ({ ...before, isConnected: false, isOver: true }));
    };
    const hear = (event: FeedEvent & { conference?: { seq: number } }) => {
      if (event.type === 'snapshot') {
        changed();
        const first = seen === 0;
        seen = event.seq;
        if (first) void before(event.seq);
        return;
      }
      if (event.failed !== undefined) return;
      if (event.seq > seen) seen = event.seq;
      add([event]);
      if (event.type === 'conferenceExit') end();
      changed();
    };
    const before = async (seq: number) => {
      try {
        const page = await call<{ events: FeedEvent[] }>('GET', `${at(id)}/events?after=${Math.max(0, seq - BEFORE)}&limit=${BEFORE}`);
        const past = page.events.filter((event) => event.seq <= seq);
        setFeed((now) => ({ ...now, events: now.events.concat(past.reverse()).slice(0, KEPT_MAX) }));
      } catch {
        // The log begins with what happens from now on.
      }
    };
    const open = () => {
      const own = openFeed(id, seen === 0 ? null : seen);
      socket = own;
      own.onopen = () => {
        wait = WAIT_MIN_MS;
        setFeed((now) => ({ ...now, isConnected: true }));
        changed();
      };
      own.onmessage = ({ data }) => hear(JSON.parse(String(data)) as FeedEvent);
      own.onclose = ({ code }) => {
        if (over || own !== socket) return;
        if (code === 1000 || code === 4410) return end();
        setFeed((now) => ({ ...now, isConnected: false }));
        // Why it was lost, a socket does not tell: an answer does.
        changed();
        timer = window.setTimeout(open, wait);
        wait = Math.min(wait * 2, WAIT_MAX_MS);
      };
    };
    setFeed({ events: [], isConnected: false, isOver: false });
    open();
    return () => {
      over = true;
      clearTimeout(timer);
      socket?.close();
    };
  }, [id]);
  return feed;
}
