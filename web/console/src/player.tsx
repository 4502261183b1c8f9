// One live stream in a video element, by mpegts.js over a WebSocket. Comes back by itself while the stream is there.

import type MpegtsModule from 'mpegts.js';
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from './text';

type Mpegts = typeof MpegtsModule;

/** Waits between attempts: a phone's network is away for seconds, and a gateway that starts again for some more. */
const WAITS_MS = [500, 1000, 2000, 4000, 8000];
export const waitMs = (attempts: number) => WAITS_MS[Math.min(attempts, WAITS_MS.length - 1)];

/** The browser has no Media Source Extensions: trying again does not help. */
export class NoMediaSource extends Error {}

let loading: Promise<Mpegts> | null = null;

/** Loaded where something is played, and only there. */
function load(): Promise<Mpegts> {
  loading ??= import('mpegts.js').then(
    ({ default: mpegts }) => {
      mpegts.LoggingControl.applyConfig({ enableAll: false });
      return mpegts;
    },
    (error) => {
      // The next attempt asks for it again.
      loading = null;
      throw error;
    },
  );
  return loading;
}

export interface Tracks {
  audio: boolean;
  video: boolean;
}

interface Watched {
  audio: object | null;
  video: object | null;
  voff: 0 | 1;
  aoff: 0 | 1;
}

/** What of a stream reaches its viewers now. A player that waits for sound that is held back shows no picture either. */
export function flowing(stream: Watched, muted: Tracks | undefined): Tracks {
  return {
    audio: stream.audio !== null && stream.aoff === 0 && !muted?.audio,
    video: stream.video !== null && stream.voff === 0 && !muted?.video,
  };
}

/**
 * Plays `url` in `element`; `over` hears once when it ends, well or not, and `silenced` where the browser lets nothing begin with sound. The
 * answer stops it.
 */
export async function play(element: HTMLVideoElement, url: string, tracks: Tracks, over: () => void, silenced: () => void = () => {}): Promise<() => void> {
  const mpegts = await load();
  if (!mpegts.getFeatureList().mseLivePlayback) throw new NoMediaSource();
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: true, url, hasAudio: tracks.audio, hasVideo: tracks.video },
    { enableWorker: false, enableStashBuffer: false, liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 2, autoCleanupSourceBuffer: true },
  );
  let isOver = false;
  // Whoever hears of it takes the player apart, which the player does not bear while it is telling.
  const end = () => setTimeout(() => isOver || over());
  player.on(mpegts.Events.ERROR, end);
  player.on(mpegts.Events.LOADING_COMPLETE, end);
  player.attachMediaElement(element);
  player.load();
  const begin = () => Promise.resolve(player.play());
  begin().catch((error: Error) => {
    if (isOver || error.name !== 'NotAllowedError') return;
    element.muted = true;
    silenced();
    begin().catch(() => {});
  });
  return () => {
    if (!isOver) player.destroy();
    isOver = true;
  };
}

/** What stands in the place of a picture. */
export function Veil({ state, tracks }: { state: 'connecting' | 'playing' | 'reconnecting' | 'unsupported'; tracks: Tracks }) {
  const text = state === 'unsupported' ? 'noMse' : !tracks.video ? (tracks.audio ? 'soundOnly' : 'heldBack') : state === 'playing' ? null : state;
  return text && <div class="veil">{t(text)}</div>;
}

export interface LivePictureProps {
  /** Names the stream: another name is another connection. */
  streamId: string;
  tracks: Tracks;
  label: string;
  muted: boolean;
  /** Asks for a URL. */
  open: () => Promise<string>;
}

export function LivePicture({ streamId, tracks, label, muted, open }: LivePictureProps) {
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState<'connecting' | 'playing' | 'reconnecting' | 'unsupported'>('connecting');
  const asked = useRef(open);
  asked.current = open;
  useEffect(() => {
    let stop: () => void = () => {};
    let timer = 0;
    let attempts = 0;
    let over = false;
    const again = () => {
      if (over) return;
      stop();
      clearTimeout(timer);
      setState('reconnecting');
      timer = window.setTimeout(() => void begin(), waitMs(attempts));
      attempts += 1;
    };
    const begin = async () => {
      try {
        const url = await asked.current();
        if (over) return;
        const stopped = await play(video.current!, url, tracks, again);
        if (over) stopped();
        else stop = stopped;
      } catch (error) {
        if (error instanceof NoMediaSource) setState('unsupported');
        else again();
      }
    };
    const playing = () => {
      attempts = 0;
      setState('playing');
    };
    const element = video.current!;
    element.addEventListener('playing', playing);
    setState('connecting');
    if (tracks.audio || tracks.video) void begin();
    return () => {
      over = true;
      clearTimeout(timer);
      element.removeEventListener('playing', playing);
      stop();
    };
  }, [streamId, tracks.audio, tracks.video]);
  return (
    <>
      <video ref={video} aria-label={label} muted={muted} autoplay playsInline disableRemotePlayback />
      <Veil state={state} tracks={tracks} />
    </>
  );
}
