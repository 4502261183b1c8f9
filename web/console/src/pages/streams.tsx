import { at, call, conferences, type Conference, type Stats, type Stream } from '../api';
import { bitrate, count, span, t, type TextKey } from '../text';
import { Empty, Trouble, useLoaded } from '../ui';
import { ownerOf, pictureOf, title } from '../words';

const EVERY_MS = 3000;
/** Streams whose figures are asked for at each turn, and how many at once. */
const STATS_MAX = 60;
const AT_ONCE = 6;
/** What is good: below the first a picture stutters; players start with a keyframe; a phone's talk feels late after half a second. */
const FPS_MIN = 10;
const GAP_MAX_MS = 4000;
const DELAY_MAX_MS = 500;

interface Row {
  conference: Conference;
  stream: Stream;
  stats: Stats | null;
}

async function load(): Promise<{ rows: Row[]; isCut: boolean }> {
  const { list } = await conferences();
  const rows: Row[] = list.flatMap((conference) => conference.streams.map((stream) => ({ conference, stream, stats: null })));
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
  return { rows, isCut: live.length > STATS_MAX };
}

/** What is wrong with it, the worst first. */
function health({ stream, stats }: Row): { text: TextKey; tone: '' | 'ok' | 'warn' } {
  if (!stream.live || !stats) return { text: 'healthIdle', tone: '' };
  if (stats.skips > 0) return { text: 'healthDrops', tone: 'warn' };
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
      <div class="head">
        <div>
          <h1>{t('streams')}</h1>
          <p class="lead">{t('streamsLead')}</p>
        </div>
      </div>
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
            <table class="table">
              <thead>
                <tr>
                  <th scope="col">{t('stream')}</th>
                  <th scope="col">{t('health')}</th>
                  <th scope="col">{t('picture')}</th>
                  <th scope="col" class="right">
                    {t('bitrate')}
                  </th>
                  <th scope="col" class="right">
                    {t('fps')}
                  </th>
                  <th scope="col" class="right">
                    {t('keyframes')}
                  </th>
                  <th scope="col" class="right">
                    {t('viewers')}
                  </th>
                  <th scope="col" class="right">
                    {t('drops')}
                  </th>
                  <th scope="col" class="right">
                    {t('delay')}
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.rows.map((row) => (
                  <StreamRow key={row.stream.id} row={row} />
                ))}
              </tbody>
            </table>
          </section>
          <p class="hint">
            {t('healthHow')} {data.isCut && t('statsCut', { count: STATS_MAX })}
          </p>
        </>
      )}
    </div>
  );
}

function StreamRow({ row }: { row: Row }) {
  const { conference, stream, stats } = row;
  const { text, tone } = health(row);
  const shown = stream.live ? stats : null;
  return (
    <tr data-stream={stream.id}>
      <td class="lead-cell clip">
        <a class="strong" href={`#/conferences/${conference.confrId}`}>
          {ownerOf(stream)} · {stream.rtcId}
        </a>
        <div class="small muted">{title(conference)}</div>
      </td>
      <td data-label={t('health')}>
        <span class={`badge ${tone}`}>{t(text)}</span>
      </td>
      <td data-label={t('picture')}>{pictureOf(stream)}</td>
      <td class="right number" data-label={t('bitrate')}>
        {shown ? bitrate(shown.videoBitrateBps + shown.audioBitrateBps) : '–'}
      </td>
      <td class="right number" data-label={t('fps')}>
        {shown ? shown.fps.toFixed(1) : '–'}
      </td>
      <td class="right number" data-label={t('keyframes')}>
        {shown?.keyframeGapMs != null ? span(shown.keyframeGapMs) : '–'}
      </td>
      <td class="right number" data-label={t('viewers')}>
        {shown ? count(shown.viewers) : '–'}
      </td>
      <td class="right number" data-label={t('drops')}>
        {shown ? count(shown.droppedPackets) : '–'}
      </td>
      <td class="right number" data-label={t('delay')}>
        {shown?.addedDelayMs != null ? span(shown.addedDelayMs) : '–'}
      </td>
    </tr>
  );
}
