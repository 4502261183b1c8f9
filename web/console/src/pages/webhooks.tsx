import { call, type DeadLetter, type Overview, type Target } from '../api';
import { count, moment, span, t } from '../text';
import { attempt, Empty, Icon, Trouble, useLoaded } from '../ui';

const EVERY_MS = 4000;

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
      <div class="head">
        <div>
          <h1>{t('webhooks')}</h1>
          <p class="lead">{t('webhooksLead')}</p>
        </div>
      </div>
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
              <table class="table">
                <thead>
                  <tr>
                    <th scope="col">{t('target')}</th>
                    <th scope="col">{t('types')}</th>
                    <th scope="col">{t('state')}</th>
                    <th scope="col">{t('queue')}</th>
                  </tr>
                </thead>
                <tbody>
                  {data.targets.map((target) => {
                    const queue = data.queues.get(target.id);
                    const waits = queue && queue.waitingConferences > 0;
                    return (
                      <tr key={target.id} data-target={target.id}>
                        <td class="lead-cell clip">
                          <span class="strong">{target.id}</span>
                          <div class="small muted">{target.url}</div>
                        </td>
                        <td data-label={t('types')}>{target.events ? target.events.join(', ') : t('allTypes')}</td>
                        <td data-label={t('state')}>
                          <span class={`badge ${target.enabled ? 'ok' : ''}`}>{t(target.enabled ? 'enabled' : 'disabled')}</span>
                        </td>
                        <td data-label={t('queue')} class="number">
                          {waits ? <span class="badge warn">{t('queueSome', { count: count(queue.waitingConferences), span: span(queue.lagMs) })}</span> : t('queueNone')}
                        </td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
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
              <table class="table">
                <thead>
                  <tr>
                    <th scope="col">{t('conference')}</th>
                    <th scope="col">{t('target')}</th>
                    <th scope="col">{t('lastError')}</th>
                    <th scope="col" class="right">
                      {t('attempts')}
                    </th>
                    <th scope="col">{t('firstFailure')}</th>
                    <th scope="col">
                      <span class="hidden">{t('actions')}</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {data.deadLetters.map((letter) => (
                    <tr key={letter.id} data-letter={letter.id}>
                      <td class="lead-cell clip">
                        <span class="mono strong">{letter.confrId}</span>
                        <div class="small muted">{t('range', { from: letter.fromSeq, to: letter.toSeq })}</div>
                      </td>
                      <td data-label={t('target')}>{letter.targetId}</td>
                      <td data-label={t('lastError')} class="clip">
                        {letter.lastError}
                      </td>
                      <td data-label={t('attempts')} class="right number">
                        {count(letter.attempts)}
                      </td>
                      <td class="time" data-label={t('firstFailure')}>{moment(letter.firstFailureAt)}</td>
                      <td class="bare">
                        <div class="row-actions">
                          {letter.replaying ? (
                            <span class="badge accent">{t('replaying')}</span>
                          ) : (
                            <button type="button" class="button" aria-label={t('replayOf', { confrId: letter.confrId })} onClick={() => void replay(letter)}>
                              <Icon name="replay" />
                              {t('replay')}
                            </button>
                          )}
                        </div>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
          </section>
        </>
      )}
    </div>
  );
}
