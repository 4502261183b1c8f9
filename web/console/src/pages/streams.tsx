import { at, call, conferences, type Conference, type Stats, type Stream } from '../api';
import { bitrate, count, span, t, type TextKey } from '../text';
import { Empty, PageHead, Table, Trouble, useLoaded, type Column } from '../ui';
import { ownerOf, pictureOf, title } from '../words';

const EVERY_MS = 3000;
/** Streams whose figures are asked for at each turn, and how many at once. */
const STATS_MAX = 60;
const AT_ONCE = 6;
/** What is good: below the first a picture stutters; players start with a keyframe; a phone's talk feels late after half a second. */
const FPS_MIN = 10;
const GAP_MAX_MS = 4000;
const DELAY_MAX_MS = 500;
/** A viewer that skipped is told of for so long. */
const SKIP_TOLD_MS = 60_000;

interface Row {
  conference: Conference;
  stream: Stream;
  stats: Stats | null;
  /** A viewer has skipped just now. */
  skips: boolean;
}

/** The skips of each stream, and when the last one was seen: the gateway counts them from the first on. */
let seen = new Map<string, { skips: number; at: number }>();

async function load(): Promise<{ rows: Row[]; isCut: boolean }> {
  const { list } = await conferences();
  const rows: Row[] = list.flatMap((conference) => conference.streams.map((stream) => ({ conference, stream, stats: null, skips: false })));
  rows.sort((one, other) => Number(other.stream.live) - Number(one.stream.live));
  const live = rows.filter((row) => row.stream.live);
  const asked = live.slice(0, STATS_MAX);
  const turn = async () => {
    for (let row = asked.shift(); row; row = asked.shift()) {
      const path = `${at(row.conference.confrId)}/streams/${encodeURIComponent(row.stream.id)}/stats`;
      row.stats = await call<Stats>('GET', path).catch(() => null);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, turn));
  const now = Date.now();
  const next: typeof seen = new Map();
  for (const row of live) {
    const before = seen.get(row.stream.id);
    const skips = row.stats?.skips ?? before?.skips;
    if (skips === undefined) continue;
    const at = before && skips > before.skips ? now : (before?.at ?? -Infinity);
    next.set(row.stream.id, { skips, at });
    row.skips = now - at < SKIP_TOLD_MS;
  }
  seen = next;
  return { rows, isCut: live.length > STATS_MAX };
}

/** What is wrong with it, the worst first. */
function health({ stream, stats, skips }: Row): { text: TextKey; tone: '' | 'ok' | 'warn' } {
  if (!stream.live) return { text: 'healthIdle', tone: '' };
  if (!stats) return { text: 'healthUnknown', tone: '' };
  if (skips) return { text: 'healthDrops', tone: 'warn' };
  if (stream.video && stats.fps < FPS_MIN) return { text: 'healthSparse', tone: 'warn' };
  if ((stats.keyframeGapMs ?? 0) > GAP_MAX_MS) return { text: 'healthGap', tone: 'warn' };
  if ((stats.addedDelayMs ?? 0) > DELAY_MAX_MS) return { text: 'healthDelay', tone: 'warn' };
  return { text: 'healthGood', tone: 'ok' };
}

export function StreamsPage() {
  const loaded = useLoaded(load, EVERY_MS);
  const data = loaded.data;
  return (
    <div class="page">
      <PageHead title={t('streams')} lead={t('streamsLead')} />
      <Trouble loaded={loaded} />
      {data && data.rows.length === 0 && (
        <section class="card">
          <Empty icon="streams" title={t('noStreamsAny')}>
            {t('noStreamsAnyHow')}
          </Empty>
        </section>
      )}
      {data && data.rows.length > 0 && (
        <>
          <section class="card" aria-label={t('streams')}>
            <Table rows={data.rows} columns={columns()} mark="stream" idOf={({ stream }) => stream.id} />
          </section>
          <p class="hint">
            {t('healthHow')} {data.isCut && t('statsCut', { count: STATS_MAX })}
          </p>
        </>
      )}
    </div>
  );
}

/** A figure of a stream that is live, as far as it is known. */
const figure = (head: string, show: (stats: Stats) => string | null): Column<Row> => ({
  head,
  class: 'right number',
  cell: ({ stream, stats }) => (stream.live && stats ? show(stats) : null) ?? '–',
});

const columns = (): Column<Row>[] => [
  {
    head: t('stream'),
    kind: 'lead',
    cell: ({ conference, stream }) => (
      <>
        <a class="strong" href={`#/conferences/${conference.confrId}`}>
          {ownerOf(stream)} · {stream.rtcId}
        </a>
        <div class="small muted">{title(conference)}</div>
      </>
    ),
  },
  {
    head: t('health'),
    cell: (row) => {
      const { text, tone } = health(row);
      return <span class={`badge ${tone}`}>{t(text)}</span>;
    },
  },
  { head: t('picture'), cell: ({ stream }) => pictureOf(stream) },
  figure(t('bitrate'), (stats) => bitrate(stats.videoBitrateBps + stats.audioBitrateBps)),
  figure(t('fps'), (stats) => stats.fps.toFixed(1)),
  figure(t('keyframes'), (stats) => (stats.keyframeGapMs === null ? null : span(stats.keyframeGapMs))),
  figure(t('viewers'), (stats) => count(stats.viewers)),
  figure(t('drops'), (stats) => count(stats.droppedPackets)),
  figure(t('delay'), (stats) => (stats.addedDelayMs === null ? null : span(stats.addedDelayMs))),
];
