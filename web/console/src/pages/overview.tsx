import { call, conferences, type Overview } from '../api';
import { Metric, Refusals, Traffic } from '../chart';
import { count, span, t } from '../text';
import { Empty, PageHead, Trouble, useLoaded } from '../ui';
import { ConferenceTable } from './conferences';

const EVERY_MS = 4000;
const NEWEST = 5;
/** A message that is under way is no trouble. */
const LAG_TOLD_MS = 10_000;

const overview = () => call<Overview>('GET', 'v1/overview');

export function OverviewPage() {
  const loaded = useLoaded(overview, EVERY_MS);
  const list = useLoaded(conferences, EVERY_MS);
  const data = loaded.data;
  const waiting = data?.webhooks.reduce((sum, queue) => sum + queue.waitingConferences, 0) ?? 0;
  const lag = Math.max(0, ...(data?.webhooks.map((queue) => queue.lagMs) ?? []));
  return (
    <div class="page">
      <PageHead title={t('overview')} lead={t('overviewLead')} />
      <Trouble loaded={loaded} />
      {waiting > 0 && lag > LAG_TOLD_MS && (
        <div class="banner" role="status">
          {t('deadWaiting', { count: count(waiting), span: span(lag) })} <a href="#/webhooks">{t('look')}</a>
        </div>
      )}
      {data && (
        <>
          <div class="metrics">
            <Metric name={t('conferences')} now={data.conferences} history={data.history} of={(sample) => sample.conferences} />
            <Metric name={t('members')} now={data.members} history={data.history} of={(sample) => sample.members} />
            <Metric name={t('liveStreams')} now={data.streams} history={data.history} of={(sample) => sample.streams} />
            <Metric name={t('viewers')} now={data.viewers} history={data.history} of={(sample) => sample.viewers} />
          </div>
          <div class="charts">
            <section class="card chart">
              <header>
                <h2>{t('traffic')}</h2>
              </header>
              <div class="body">{data.history.length > 1 ? <Traffic history={data.history} /> : <Empty icon="overview" title={t('noHistory')} />}</div>
            </section>
            <section class="card chart">
              <header>
                <h2>{t('refusals')}</h2>
              </header>
              <div class="body">
                {data.history.some((sample) => sample.refused > 0) ? <Refusals history={data.history} sampleMs={data.sampleMs} /> : <Empty icon="check" title={t('noRefusals')} />}
              </div>
            </section>
          </div>
        </>
      )}
      {list.data && (
        <section class="card">
          <header>
            <h2>{t('newest')}</h2>
            {list.data.list.length > NEWEST && <a href="#/conferences">{t('all')}</a>}
          </header>
          <ConferenceTable list={list.data.list.slice(0, NEWEST)} />
        </section>
      )}
    </div>
  );
}
