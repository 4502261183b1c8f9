// The page with which a browser watches a conference: a ticket in, pictures and sound out. All that it knows of the gateway stands in the
// client (sdk/js); here are the form and the video elements.

import './style.css';
import { Conference, webPlatform, type Stream, type Subscription, type TidegateError } from '@tidegate/client';
import { render } from 'preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { inTab } from './kept';
import { flowing, NoMediaSource, play, Veil, waitMs } from './player';
import { usePrefs } from './prefs';
import { t, type TextKey } from './text';
import { Brand, Empty, Icon, Prefs, Toasts, WayIn } from './ui';

const TICKET = 'ticket';
/** What a live-player would say. */
const FLOWING = 2004;
const LOST = -2301;
const EVENTS = ['stateChanged', 'memberJoined', 'memberExited', 'memberChanged', 'streamAdded', 'streamRemoved', 'mediaChanged', 'rejoined'] as const;

/** The ticket of the link, which leaves the address at once: an address is copied, kept and shown. */
function ticketOfLink(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get('ticket');
  if (given) {
    inTab.set(TICKET, given);
    history.replaceState(null, '', location.pathname + location.search);
  }
  return given ?? inTab.get(TICKET) ?? '';
}

/** The conference that a ticket opens. It may also be a whole link. */
function readTicket(text: string): { ticket: string; confrId: string } | null {
  const ticket = (/[#&]ticket=([^&\s]+)/.exec(text)?.[1] ?? text).trim();
  try {
    const claims = JSON.parse(atob(ticket.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))) as { typ?: string; confr?: string };
    return claims.typ === 'ticket' && claims.confr ? { ticket, confrId: claims.confr } : null;
  } catch {
    return null;
  }
}

const ENDS: Record<number, TextKey> = { 0: 'joinLeft', 10: 'joinElsewhere', 11: 'joinClosed', 12: 'joinKicked' };

/** What to tell, in whichever language is read then. */
interface Told {
  key: TextKey;
  detail?: string;
}

function refusal(error: TidegateError): Told {
  switch (error.reason) {
    case 'ticket_invalid':
    case 'ticket_expired':
    case 'unauthenticated':
    case 'member_gone':
      return { key: 'ticketRefused' };
    case 'conference_closed':
    case 'conference_not_found':
      return { key: 'joinClosed' };
    case 'members_full':
    case 'talkers_full':
      return { key: 'joinFull' };
    case 'network':
    case 'timeout':
      return { key: 'noAnswerNow' };
    default:
      return { key: 'joinFailed', detail: error.message };
  }
}

let isLeaving = false;

/** What a page that closes still has to say goes out all the same. */
const lastingFetch: typeof fetch = (input, init) => fetch(input, { ...init, keepalive: isLeaving });

function Page() {
  usePrefs();
  const [conference, setConference] = useState<Conference | null>(null);
  const [end, setEnd] = useState<TextKey | null>(null);
  document.title = `${t('joinTitle')} · ${t('product')}`;
  const enter = (joined: Conference) => {
    joined.on('left', ({ reason }) => {
      setConference(null);
      setEnd(ENDS[reason] ?? 'noAnswerNow');
    });
    setEnd(null);
    setConference(joined);
  };
  return (
    <>
      {conference ? <Watch conference={conference} /> : <Gate end={end} onJoined={enter} />}
      <Toasts />
    </>
  );
}

function Gate({ end, onJoined }: { end: TextKey | null; onJoined: (conference: Conference) => void }) {
  const [ticket, setTicket] = useState(ticketOfLink);
  const [fromLink] = useState(ticket !== '');
  const [name, setName] = useState('');
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<Told | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    const read = readTicket(ticket);
    if (!read) return setWrong({ key: 'ticketBroken' });
    setBusy(true);
    setWrong(null);
    const apiURL = new URL('./', location.href.split('#')[0]).href.replace(/\/$/, '');
    const conference = new Conference({ apiURL, platform: webPlatform({ fetch: lastingFetch }) });
    try {
      await conference.join({ ...read, ...(name.trim() ? { nickName: name.trim() } : {}) });
      inTab.set(TICKET, read.ticket);
      onJoined(conference);
    } catch (error) {
      setWrong(refusal(error as TidegateError));
      setBusy(false);
    }
  };
  const told = wrong ?? (end && !busy ? { key: end } : null);
  return (
    <WayIn title={t('joinTitle')} lead={fromLink ? undefined : t('joinLead')}>
      <form onSubmit={(event) => void submit(event)}>
        {(!fromLink || wrong) && (
          <label class="field">
            <span>{t('ticket')}</span>
            <textarea
              class="input mono"
              required
              spellcheck={false}
              autocomplete="off"
              value={ticket}
              aria-describedby="ticket-hint"
              onInput={(event) => setTicket(event.currentTarget.value)}
            />
            <small class="hint" id="ticket-hint">
              {t('ticketHint')}
            </small>
          </label>
        )}
        <label class="field">
          <span>{t('yourName')}</span>
          <input class="input" maxLength={128} value={name} aria-describedby="name-hint" onInput={(event) => setName(event.currentTarget.value)} />
          <small class="hint" id="name-hint">
            {t('yourNameHint')}
          </small>
        </label>
        <p class={wrong ? 'error' : 'muted'} role="alert" hidden={!told}>
          {told && t(told.key, { detail: told.detail ?? '' })}
        </p>
        <button class="button primary" disabled={busy || ticket.trim() === ''}>
          {busy ? t('joining') : end ? t('again') : t('watch')}
        </button>
      </form>
    </WayIn>
  );
}

function Watch({ conference }: { conference: Conference }) {
  const [, changed] = useReducer((count: number) => count + 1, 0);
  const [isSilent, setSilent] = useState(false);
  useEffect(() => {
    const offs = EVENTS.map((name) => conference.on(name, () => changed(undefined)));
    // Whoever closes the page is not waited for until it counts as gone.
    const leave = () => {
      isLeaving = true;
      conference.leave().catch(() => {});
    };
    addEventListener('pagehide', leave);
    return () => {
      offs.forEach((off) => off());
      removeEventListener('pagehide', leave);
    };
  }, [conference]);
  const streams = [...conference.streams.values()].filter((stream) => stream.memId !== conference.self?.id);
  const isCut = conference.state === 'reconnecting' || conference.state === 'rejoining';
  return (
    <main class="watch">
      <div class="head">
        <div>
          <Brand />
          <h1 class="hidden">{t('watching')}</h1>
          <p class="muted small">{t('peopleInside', { count: Math.max(conference.members.size, conference.info?.audienceCount ?? 0) })}</p>
        </div>
        <div class="actions">
          <Prefs />
          <button type="button" class={`button ${isSilent ? 'held' : ''}`} onClick={() => setSilent(!isSilent)}>
            <Icon name={isSilent ? 'silence' : 'sound'} />
            {t(isSilent ? 'soundOn' : 'soundOffButton')}
          </button>
          <button type="button" class="button danger" onClick={() => void conference.leave()}>
            {t('leave')}
          </button>
        </div>
      </div>
      {isCut && (
        <div class="banner" role="status">
          {t('connectionLost')}
        </div>
      )}
      {streams.length === 0 ? (
        <section class="card">
          <Empty icon="streams" title={t('nobodyLive')}>
            {t('nobodyLiveHow')}
          </Empty>
        </section>
      ) : (
        <ul class="tiles">
          {streams.map((stream) => (
            <Picture key={stream.id} conference={conference} stream={stream} isSilent={isSilent} onSilenced={() => setSilent(true)} />
          ))}
        </ul>
      )}
    </main>
  );
}

/** A stream of somebody else. The client decides when it plays and with which URL; the element does, and says how it goes. */
function Picture({ conference, stream, isSilent, onSilenced }: { conference: Conference; stream: Stream; isSilent: boolean; onSilenced: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState('loading');
  const [unsupported, setUnsupported] = useState(false);
  const name = stream.owner ? stream.owner.nickName || stream.owner.name : '';
  const tracks = flowing(stream, (conference.members.get(stream.memId) ?? stream.owner)?.muted);
  const isShown = tracks.audio || tracks.video;
  useEffect(() => {
    if (!isShown) return;
    const element = video.current!;
    let isOver = false;
    let subscription: Subscription | null = null;
    let turn = 0;
    let stop: () => void = () => {};
    const halt = () => {
      turn += 1;
      stop();
      stop = () => {};
    };
    const start = async () => {
      halt();
      const own = turn;
      try {
        const stopped = await play(element, subscription!.data.wsFlv, tracks, () => own === turn && subscription?.handleStateChange(LOST), onSilenced);
        if (own === turn) stop = stopped;
        else stopped();
      } catch (error) {
        if (own !== turn) return;
        if (error instanceof NoMediaSource) setUnsupported(true);
        else subscription!.handleStateChange(LOST);
      }
    };
    let attempts = 0;
    let timer = 0;
    const later = (again: () => void) => {
      setState('reconnecting');
      timer = window.setTimeout(again, waitMs(attempts));
      attempts += 1;
    };
    const flows = () => {
      attempts = 0;
      subscription?.handleStateChange(FLOWING);
    };
    element.addEventListener('playing', flows);
    const subscribe = () => {
      conference.subscribe(stream.id, { profile: 'rtc' }).then(
        (subscribed) => {
          if (isOver) return subscribed.close();
          // It was asked for before the tracks changed, and closed with them.
          if (subscribed.state.name === 'stopped') return later(subscribe);
          subscription = subscribed;
          setState(subscribed.state.name);
          subscribed.on('change', ({ state }) => {
            setState(state.name);
            if (state.name === 'failed') later(() => subscribed.retry());
          });
          subscribed.attach({ setUrl: (_, done) => done(), start: () => void start(), stop: halt });
        },
        // Where the stream is there no more, it is taken off the page.
        () => isOver || later(subscribe),
      );
    };
    subscribe();
    return () => {
      isOver = true;
      clearTimeout(timer);
      halt();
      element.removeEventListener('playing', flows);
      subscription?.close();
    };
  }, [stream.id, tracks.audio, tracks.video]);
  return (
    <li class="card tile" data-stream={stream.id} data-state={state}>
      <div class="screen">
        <video ref={video} aria-label={t('watchingOf', { name })} muted={isSilent} autoplay playsInline disableRemotePlayback />
        <Veil state={unsupported ? 'unsupported' : state === 'playing' ? 'playing' : state === 'loading' ? 'connecting' : 'reconnecting'} tracks={tracks} />
        <div class="corner">
          {stream.voff === 1 && <span class="badge">{t('picturesOff')}</span>}
          {stream.aoff === 1 && <span class="badge">{t('soundOff')}</span>}
        </div>
      </div>
      <div class="info">
        <strong class="clip">{name}</strong>
      </div>
      <div class="buttons" />
    </li>
  );
}

render(<Page />, document.getElementById('app')!);
