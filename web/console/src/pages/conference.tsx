import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, at, call, type Conference, type FeedEvent, type Member, type Role, root, type Stats, type Stream } from '../api';
import { useFeed } from '../feed';
import { inTab } from '../kept';
import { flowing, LivePicture } from '../player';
import { bitrate, clock, clockSeconds, moment, span, t } from '../text';
import { attempt, Confirm, CopyButton, Dialog, Empty, Icon, Table, toast, Trouble, useDoing, type Column } from '../ui';
import { kindName, nameOf, ownerOf, pictureOf, roleName, sentence, title } from '../words';

/** Live pictures at once: the places for video of a conference, and what a laptop decodes. */
const PREVIEWS_MAX = 9;
const STATS_EVERY_MS = 2500;
/** What no event tells: that a refusal has passed, or the key was replaced. */
const LOOK_EVERY_MS = 5000;
/** Refusals after which there is nothing more to look at. */
const OVER: Record<string, 'ended' | 'gone'> = { conference_closed: 'ended', conference_not_found: 'gone' };
const PREVIEWS = 'previews';

type Asked = { what: 'end' } | { what: 'kick'; name: string } | { what: 'invite' } | null;

export function ConferencePage({ id }: { id: string }) {
  const [conference, setConference] = useState<Conference | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [asked, setAsked] = useState<Asked>(null);
  const [previews, setPreviews] = useState(() => inTab.get(PREVIEWS) !== 'off');
  const load = useLatest(async () => {
    try {
      setConference(await call<Conference>('GET', at(id)));
      setError(null);
    } catch (refused) {
      setError(refused as ApiError);
    }
  });
  const feed = useFeed(id, load);
  const over = (error && OVER[error.reason]) ?? (feed.isOver ? 'ended' : null);
  useEffect(() => {
    if (over) return;
    load();
    const timer = setInterval(load, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, [over]);
  const toggle = () => {
    inTab.set(PREVIEWS, previews ? 'off' : 'on');
    setPreviews(!previews);
  };

  if (over) {
    return (
      <div class="page">
        <section class="card">
          <div class="empty">
            <Icon name="conferences" />
            <h1>{t(conference ? 'ended' : over)}</h1>
            <p>
              <a class="button" href="#/conferences">
                {t('back')}
              </a>
            </p>
          </div>
        </section>
        {feed.events.length > 0 && <Log events={feed.events} isConnected={false} isOver />}
      </div>
    );
  }
  if (!conference) {
    return (
      <div class="page">
        <h1 class="hidden">{t('conference')}</h1>
        <Trouble loaded={{ data: conference, error }} />
      </div>
    );
  }
  const path = at(id);
  const live = conference.streams.filter((stream) => stream.live);
  return (
    <div class="page">
      <div class="head">
        <div>
          <a class="crumb" href="#/conferences">
            <Icon name="back" />
            {t('conferences')}
          </a>
          <h1 class={`clip ${title(conference) === id ? 'mono' : ''}`}>{title(conference)}</h1>
          <div class="facts small muted">
            <span class="badge">{kindName(conference.type)}</span>
            <span>{t('createdAt', { at: moment(conference.createdAt) })}</span>
            {title(conference) !== id && <span class="mono">{id}</span>}
            <CopyButton text={id} label={t('copyId')} />
          </div>
        </div>
        <div class="actions">
          <button type="button" class="button" onClick={() => setAsked({ what: 'invite' })}>
            <Icon name="invite" />
            {t('invite')}
          </button>
          <button type="button" class="button danger" data-test="end" onClick={() => setAsked({ what: 'end' })}>
            {t('end')}
          </button>
        </div>
      </div>
      <Trouble loaded={{ data: conference, error }} />
      <section class="stack" aria-label={t('streams')}>
        {conference.streams.length === 0 ? (
          <div class="card">
            <Empty icon="streams" title={t('noStreams')}>
              {t('noStreamsHow')}
            </Empty>
          </div>
        ) : (
          <>
            <div class="head middle">
              <h2>
                {t('liveStreams')} <span class="muted number">{live.length}</span>
              </h2>
              <div class="actions">
                {live.length > PREVIEWS_MAX && previews && <span class="muted small">{t('previewsTooMany', { count: PREVIEWS_MAX })}</span>}
                <button type="button" role="switch" aria-checked={previews} class="button" onClick={toggle}>
                  <Icon name="streams" />
                  {t(previews ? 'previewsOn' : 'previewsOff')}
                </button>
              </div>
            </div>
            <ul class="tiles">
              {conference.streams.map((stream) => (
                <Tile
                  key={stream.id}
                  confrId={id}
                  stream={stream}
                  isShown={previews && live.indexOf(stream) >= 0 && live.indexOf(stream) < PREVIEWS_MAX}
                  onKick={(name) => setAsked({ what: 'kick', name })}
                />
              ))}
            </ul>
          </>
        )}
      </section>
      <div class="split">
        <Members conference={conference} onKick={(name) => setAsked({ what: 'kick', name })} />
        <Log events={feed.events} isConnected={feed.isConnected} isOver={false} />
      </div>
      {asked?.what === 'end' && (
        <Confirm
          title={t('endTitle')}
          text={t('endText')}
          action={t('end')}
          onClose={() => setAsked(null)}
          onConfirm={() => call('DELETE', path)}
        />
      )}
      {asked?.what === 'kick' && (
        <Confirm
          title={t('kickTitle', { name: asked.name })}
          text={t('kickText')}
          action={t('kick')}
          onClose={() => setAsked(null)}
          onConfirm={async () => {
            await call('POST', `${path}/kick`, { memberNames: [asked.name] });
            toast(t('kicked', { name: asked.name }));
          }}
        />
      )}
      {asked?.what === 'invite' && <Invite path={path} onClose={() => setAsked(null)} />}
    </div>
  );
}

/** Runs `load` one at a time; what is asked for meanwhile is one more run afterwards. */
function useLatest(load: () => Promise<void>): () => void {
  const state = useRef({ running: false, again: false, load });
  state.current.load = load;
  return useCallback(() => {
    const own = state.current;
    own.again = true;
    if (own.running) return;
    own.running = true;
    void (async () => {
      while (own.again) {
        own.again = false;
        await own.load();
      }
      own.running = false;
    })();
  }, []);
}

function Tile({ confrId, stream, isShown, onKick }: { confrId: string; stream: Stream; isShown: boolean; onKick: (name: string) => void }) {
  const [listens, setListens] = useState(false);
  const [stats, setStats] = useState<Stats | null>(null);
  const streamPath = `${at(confrId)}/streams/${encodeURIComponent(stream.id)}`;
  useEffect(() => {
    if (!stream.live) return setStats(null);
    let over = false;
    let timer = 0;
    const turn = async () => {
      try {
        const next = await call<Stats>('GET', `${streamPath}/stats`);
        if (!over) setStats(next);
      } catch {
        // The feed tells where the stream is gone.
      }
      if (!over) timer = window.setTimeout(() => void turn(), STATS_EVERY_MS);
    };
    void turn();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [stream.id, stream.live]);
  const open = async () => {
    const answer = await call<{ data: { wsFlv: string } }>('POST', `${streamPath}/subscriptions`, { profile: 'rtc' });
    return answer.data.wsFlv;
  };
  const owner = stream.owner;
  const name = ownerOf(stream);
  const mute = (what: 'audio' | 'video') => () => {
    if (!owner) return;
    void attempt(() => call('POST', `${at(confrId)}/mute`, { memberNames: [owner.name], [what]: !owner.muted[what] }));
  };
  return (
    <li class="card tile" data-stream={stream.id}>
      <div class="screen">
        {isShown ? (
          <LivePicture
            streamId={stream.id}
            tracks={flowing(stream, owner?.muted)}
            label={t('previewOf', { name })}
            muted={!listens}
            open={open}
          />
        ) : (
          <div class="veil">{t(stream.live ? 'paused' : 'waiting')}</div>
        )}
        <div class="corner">
          {stream.live && (
            <span class="badge live">
              <span class="dot" />
              {t('live')}
            </span>
          )}
          {stream.type === 1 && <span class="badge">{t('desktop')}</span>}
          {owner?.muted.video ? <span class="badge">{t('picturesMuted')}</span> : stream.voff === 1 && <span class="badge">{t('picturesOff')}</span>}
          {owner?.muted.audio ? <span class="badge">{t('soundMuted')}</span> : stream.aoff === 1 && <span class="badge">{t('soundOff')}</span>}
        </div>
      </div>
      <div class="info">
        <strong class="clip">{name}</strong>
        <span class="small muted number">
          {stats && stream.live ? `${bitrate(stats.videoBitrateBps + stats.audioBitrateBps)} · ${stats.fps.toFixed(0)} fps` : pictureOf(stream)}
          {stats?.keyframeGapMs != null && stream.live && ` · GOP ${span(stats.keyframeGapMs)}`}
        </span>
      </div>
      {owner && (
        <div class="buttons">
          {isShown && stream.audio && (
            <IconButton icon={listens ? 'sound' : 'silence'} label={listens ? t('silence') : t('listenTo', { name })} onClick={() => setListens(!listens)} />
          )}
          <IconButton icon="mic" isHeld={owner.muted.audio} label={t(owner.muted.audio ? 'unmuteAudio' : 'muteAudio', { name })} onClick={mute('audio')} test="mute-audio" />
          <IconButton icon="camera" isHeld={owner.muted.video} label={t(owner.muted.video ? 'unmuteVideo' : 'muteVideo', { name })} onClick={mute('video')} test="mute-video" />
          <button type="button" class="button ghost danger last" data-test="kick" aria-label={t('kickName', { name })} onClick={() => onKick(owner.name)}>
            {t('kick')}
          </button>
        </div>
      )}
    </li>
  );
}

/** Its label says what a click does, and so changes while something is held back: a pressed state besides would say the contrary. */
function IconButton(props: { icon: 'sound' | 'silence' | 'mic' | 'camera'; label: string; isHeld?: boolean; onClick: () => void; test?: string }) {
  return (
    <button type="button" class={`button ghost square ${props.isHeld ? 'held' : ''}`} title={props.label} aria-label={props.label} data-test={props.test} onClick={props.onClick}>
      <Icon name={props.icon} crossed={props.isHeld} />
    </button>
  );
}

function Members({ conference, onKick }: { conference: Conference; onKick: (name: string) => void }) {
  const grant = (member: Member) => (event: { currentTarget: HTMLSelectElement }) => {
    const select = event.currentTarget;
    const role = Number(select.value) as Role;
    const done = t('roleChanged', { name: nameOf(member), role: roleName(role) });
    void attempt(() => call('POST', `${at(conference.confrId)}/roles`, { memberNames: [member.name], role }), done).then((granted) => {
      if (!granted) select.value = String(member.role);
    });
  };
  const columns: Column<Member>[] = [
    {
      head: t('name'),
      kind: 'lead',
      cell: (member) => (
        <>
          <span class="strong">{nameOf(member)}</span> {member.nickName && member.nickName !== member.name && <span class="muted small">{member.name}</span>}{' '}
          {member.muted.audio && <span class="badge warn">{t('soundMuted')}</span>} {member.muted.video && <span class="badge warn">{t('picturesMuted')}</span>}
        </>
      ),
    },
    {
      head: t('role'),
      cell: (member) => (
        <select class="select" aria-label={t('roleOf', { name: member.name })} value={String(member.role)} onChange={grant(member)}>
          {([7, 3, 1] as const).map((role) => (
            <option key={role} value={String(role)} selected={member.role === role}>
              {roleName(role)}
            </option>
          ))}
        </select>
      ),
    },
    { head: t('joined'), class: 'number', cell: (member) => clock(member.joinedAt) },
    {
      head: t('actions'),
      kind: 'actions',
      cell: (member) => (
        <button type="button" class="button ghost danger" aria-label={t('kickName', { name: member.name })} onClick={() => onKick(member.name)}>
          {t('kick')}
        </button>
      ),
    },
  ];
  return (
    <section class="card">
      <header>
        <h2>
          {t('members')} <span class="muted number">{conference.members.length}</span>
        </h2>
      </header>
      {conference.members.length === 0 ? (
        <Empty icon="conferences" title={t('noMembers')}>
          {t('noMembersHow')}
        </Empty>
      ) : (
        <Table rows={conference.members} columns={columns} mark="member" idOf={(member) => member.name} />
      )}
    </section>
  );
}

function Log({ events, isConnected, isOver }: { events: FeedEvent[]; isConnected: boolean; isOver: boolean }) {
  const told = events.map((event) => ({ event, text: sentence(event) })).filter(({ text }) => text !== null);
  return (
    <section class="card">
      <header>
        <h2>{t('log')}</h2>
        {!isOver && (
          <span class={`badge ${isConnected ? 'ok' : 'warn'}`}>
            <span class="dot" />
            {t(isConnected ? 'feedLive' : 'feedCut')}
          </span>
        )}
      </header>
      {told.length === 0 ? (
        <p class="loading">{t('logEmpty')}</p>
      ) : (
        <div class="log" role="log" aria-label={t('log')} tabIndex={0}>
          <ol>
            {told.map(({ event, text }) => (
              <li key={`${event.seq}-${event.type}`} data-event={event.type}>
                <time dateTime={event.at}>{clockSeconds(event.at)}</time>
                <span>{text}</span>
              </li>
            ))}
          </ol>
        </div>
      )}
    </section>
  );
}

/** A link for a browser: a ticket of role AUDIENCE in the fragment, which no server and no log sees. */
function Invite({ path, onClose }: { path: string; onClose: () => void }) {
  const [user, setUser] = useState('');
  const [link, setLink] = useState('');
  const { busy, refused, run } = useDoing();
  const made = useRef<HTMLTextAreaElement>(null);
  // The button that had the focus is gone.
  useEffect(() => made.current?.focus(), [link]);
  const make = async () => {
    const { ticket } = await call<{ ticket: string }>('POST', `${path}/tickets`, { role: 1, ...(user.trim() ? { user: user.trim() } : {}) });
    setLink(`${new URL('join', root)}#ticket=${ticket}`);
  };
  return (
    <Dialog title={t('inviteTitle')} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(make);
        }}
      >
        <h2>{t('inviteTitle')}</h2>
        <p>{t('inviteText')}</p>
        {link === '' ? (
          <label class="field">
            <span>{t('inviteName')}</span>
            <input class="input" value={user} maxLength={128} onInput={(event) => setUser(event.currentTarget.value)} />
          </label>
        ) : (
          <label class="field">
            <span>{t('inviteLink')}</span>
            <textarea ref={made} class="input mono" data-test="link" readOnly value={link} onFocus={(event) => event.currentTarget.select()} />
          </label>
        )}
        {refused}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t(link === '' ? 'cancel' : 'close')}
          </button>
          {link === '' ? <button class="button primary" disabled={busy}>{t('inviteMake')}</button> : <CopyButton text={link} label={t('copy')} showLabel />}
        </div>
      </form>
    </Dialog>
  );
}
