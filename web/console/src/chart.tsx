// Charts as plain SVG: what they show is also said in words, for those who do not see them.

import type { Sample } from './api';
import { bitrate, clock, count, span, t } from './text';

const WIDTH = 600;

interface Point {
  at: number;
  value: number;
}

export const points = (history: Sample[], of: (sample: Sample) => number): Point[] =>
  history.map((sample) => ({ at: Date.parse(sample.at), value: of(sample) }));

export const peak = (of: Point[]) => of.reduce((most, point) => Math.max(most, point.value), 0);

function path(of: Point[], height: number, top: number): string {
  const [first, last] = [of[0].at, of[of.length - 1].at];
  const wide = Math.max(1, last - first);
  return of
    .map(({ at, value }, index) => {
      const x = (((at - first) / wide) * WIDTH).toFixed(1);
      const y = (height - 2 - (value / top) * (height - 6)).toFixed(1);
      return `${index === 0 ? 'M' : 'L'}${x} ${y}`;
    })
    .join('');
}

const area = (line: string, height: number) => `${line}L${WIDTH} ${height}L0 ${height}Z`;

/** A figure: what it is now, and how it went. */
export function Metric({ name, now, history, of, show }: { name: string; now: number; history: Sample[]; of: (sample: Sample) => number; show?: (value: number) => string }) {
  const shown = show ?? count;
  const line = points(history, of);
  const most = Math.max(peak(line), now);
  const drawn = line.length > 1 ? path(line, 44, Math.max(1, most)) : null;
  return (
    <div class="card metric">
      <div class="label">{name}</div>
      <div class="value">{shown(now)}</div>
      <div class="peak">{drawn ? t('peak', { value: shown(most) }) : t('noHistory')}</div>
      {drawn ? (
        <svg viewBox={`0 0 ${WIDTH} 44`} preserveAspectRatio="none" role="img" aria-label={t('chartMetric', { name, now: shown(now), peak: shown(most) })}>
          <path class="area" d={area(drawn, 44)} />
          <path class="line" d={drawn} />
        </svg>
      ) : (
        <svg viewBox={`0 0 ${WIDTH} 44`} preserveAspectRatio="none" aria-hidden="true">
          <path class="grid" d={`M0 42H${WIDTH}`} />
        </svg>
      )}
    </div>
  );
}

/** What the highest line stands for. */
function Scale({ top }: { top: string }) {
  return (
    <div class="scale" aria-hidden="true">
      {top}
    </div>
  );
}

function Axis({ history }: { history: Sample[] }) {
  return (
    <div class="axis">
      <span>{clock(history[0].at)}</span>
      <span>{clock(history[history.length - 1].at)}</span>
    </div>
  );
}

export function Traffic({ history }: { history: Sample[] }) {
  const received = points(history, (sample) => sample.receivedBitrateBps);
  const sent = points(history, (sample) => sample.sentBitrateBps);
  const top = Math.max(peak(received), peak(sent), 1000);
  const label = t('chartTraffic', {
    from: clock(history[0].at),
    to: clock(history[history.length - 1].at),
    received: bitrate(peak(received)),
    sent: bitrate(peak(sent)),
  });
  const down = path(received, 170, top);
  return (
    <>
      <div class="legend">
        <span>
          <i />
          {t('received')} · {bitrate(received[received.length - 1].value)}
        </span>
        <span>
          <i class="second" />
          {t('sent')} · {bitrate(sent[sent.length - 1].value)}
        </span>
      </div>
      <Scale top={bitrate(top)} />
      <svg viewBox={`0 0 ${WIDTH} 170`} preserveAspectRatio="none" role="img" aria-label={label}>
        <path class="grid" d={`M0 4H${WIDTH}M0 86H${WIDTH}M0 168H${WIDTH}`} />
        <path class="area" d={area(down, 170)} />
        <path class="line" d={down} />
        <path class="line second" d={path(sent, 170, top)} />
      </svg>
      <Axis history={history} />
    </>
  );
}

/** Bars of so many at most: a sample of ten seconds would be a hair. */
const BARS_MAX = 60;

export function Refusals({ history, sampleMs }: { history: Sample[]; sampleMs: number }) {
  const each = Math.ceil(history.length / BARS_MAX);
  const bars: number[] = [];
  history.forEach((sample, index) => {
    const bar = Math.floor(index / each);
    bars[bar] = (bars[bar] ?? 0) + sample.refused;
  });
  const total = bars.reduce((sum, bar) => sum + bar, 0);
  const top = Math.max(4, ...bars);
  const wide = WIDTH / Math.max(bars.length, 12);
  const label = t('chartRefusals', { from: clock(history[0].at), to: clock(history[history.length - 1].at), count: count(total) });
  return (
    <>
      <div class="legend">
        <span>{t('refusedTotal', { count: count(total) })}</span>
        <span>{t('refusedEach', { span: span(each * sampleMs) })}</span>
      </div>
      <Scale top={count(top)} />
      <svg viewBox={`0 0 ${WIDTH} 170`} preserveAspectRatio="none" role="img" aria-label={label}>
        <path class="grid" d={`M0 4H${WIDTH}M0 86H${WIDTH}M0 168H${WIDTH}`} />
        {bars.map((bar, index) => (
          <rect key={index} class="bar" x={index * wide + wide * 0.15} width={wide * 0.7} y={168 - (bar / top) * 160} height={(bar / top) * 160} />
        ))}
      </svg>
      <Axis history={history} />
    </>
  );
}
