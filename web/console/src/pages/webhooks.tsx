import { call, type DeadLetter, type Overview, type Target } from '../api';
import { count, moment, span, t } from '../text';
import { attempt, Empty, Icon, PageHead, Table, Trouble, useLoaded, type Column } from '../ui';

const EVERY_MS = 4000;

type Queue = Overview['webhooks'][number];

async function load() {
  const [{ targets }, { deadLetters }, { webhooks }] = await Promise.all([
    call<{ targets: Target[] }>('GET', 'v1/webhooks'),
    call<{ deadLetters: DeadLetter[] }>('GET', 'v1/webhooks/dead-letters?limit=100'),
    call<Overview>('GET', 'v1/overview'),
  ]);
  return { targets, deadLetters, queues: new Map(webhooks.map((queue) => [queue.targetId, queue])) };
}

export function WebhooksPage() {
  const loaded = useLoaded(load, EVERY_MS);
  const data = loaded.data;
  const replay = async (letter: DeadLetter) => {
    await attempt(() => call('POST', `v1/webhooks/dead-letters/${letter.id}/replay`), t('replayed'));
    await loaded.reload();
  };
  return (
    <div class="page">
      <PageHead title={t('webhooks')} lead={t('webhooksLead')} />
      <Trouble loaded={loaded} />
      {data && (
        <>
          <section class="card">
            <header>
              <h2>{t('targets')}</h2>
            </header>
            {data.targets.length === 0 ? (
              <Empty icon="webhooks" title={t('noTargets')}>
                {t('noTargetsHow')}
              </Empty>
            ) : (
              <Table rows={data.targets} columns={targetColumns(data.queues)} mark="target" idOf={(target) => target.id} />
            )}
          </section>
          <section class="card">
            <header>
              <div>
                <h2>
                  {t('deadLetters')} <span class="muted number">{data.deadLetters.length > 0 && data.deadLetters.length}</span>
                </h2>
                <p class="small muted">{t('deadLead')}</p>
              </div>
            </header>
            {data.deadLetters.length === 0 ? (
              <Empty icon="check" title={t('noDead')}>
                {t('noDeadHow')}
              </Empty>
            ) : (
              <Table rows={data.deadLetters} columns={letterColumns(replay)} mark="letter" idOf={(letter) => letter.id} />
            )}
          </section>
        </>
      )}
    </div>
  );
}

const targetColumns = (queues: Map<string, Queue>): Column<Target>[] => [
  {
    head: t('target'),
    kind: 'lead',
    cell: (target) => (
      <>
        <span class="strong">{target.id}</span>
        <div class="small muted">{target.url}</div>
      </>
    ),
  },
  { head: t('types'), cell: (target) => (target.events ? target.events.join(', ') : t('allTypes')) },
  { head: t('state'), cell: (target) => <span class={`badge ${target.enabled ? 'ok' : ''}`}>{t(target.enabled ? 'enabled' : 'disabled')}</span> },
  {
    head: t('queue'),
    class: 'number',
    cell: ({ id }) => {
      const queue = queues.get(id);
      if (!queue || queue.waitingConferences === 0) return t('queueNone');
      return <span class="badge warn">{t('queueSome', { count: count(queue.waitingConferences), span: span(queue.lagMs) })}</span>;
    },
  },
];

const letterColumns = (replay: (letter: DeadLetter) => Promise<void>): Column<DeadLetter>[] => [
  {
    head: t('conference'),
    kind: 'lead',
    cell: (letter) => (
      <>
        <span class="mono strong">{letter.confrId}</span>
        <div class="small muted">{t('range', { from: letter.fromSeq, to: letter.toSeq })}</div>
      </>
    ),
  },
  { head: t('target'), cell: (letter) => letter.targetId },
  { head: t('lastError'), class: 'clip', cell: (letter) => letter.lastError },
  { head: t('attempts'), class: 'right number', cell: (letter) => count(letter.attempts) },
  { head: t('firstFailure'), class: 'time', cell: (letter) => moment(letter.firstFailureAt) },
  {
    head: t('actions'),
    kind: 'actions',
    cell: (letter) =>
      letter.replaying ? (
        <span class="badge accent">{t('replaying')}</span>
      ) : (
        <button type="button" class="button" aria-label={t('replayOf', { confrId: letter.confrId })} onClick={() => void replay(letter)}>
          <Icon name="replay" />
          {t('replay')}
        </button>
      ),
  },
];
