import { useState } from 'preact/hooks';
import { conferences, type Conference } from '../api';
import { count, moment, t } from '../text';
import { Empty, Trouble, useLoaded } from '../ui';
import { kindName, title } from '../words';

const EVERY_MS = 4000;

export function ConferencesPage() {
  const loaded = useLoaded(conferences, EVERY_MS);
  const [wanted, setWanted] = useState('');
  const data = loaded.data;
  const fits = (conference: Conference) => {
    const texts = [conference.confrId, conference.roomName ?? '', conference.groupId ?? '', ...conference.members.flatMap((member) => [member.name, member.nickName ?? ''])];
    return texts.some((text) => text.toLowerCase().includes(wanted.trim().toLowerCase()));
  };
  const open = data?.list.length ?? 0;
  return (
    <div class="page">
      <div class="head">
        <div>
          <h1>{t('conferences')}</h1>
          <p class="lead">{data && (open === 0 ? t('noneOpen') : open === 1 ? t('oneOpen') : data.isCut ? t('cut', { count: count(open) }) : t('conferencesLead', { count: count(open) }))}</p>
        </div>
        {open > 0 && (
          <label>
            <span class="hidden">{t('filter')}</span>
            <input class="input" type="search" size={30} placeholder={t('filter')} value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
          </label>
        )}
      </div>
      <Trouble loaded={loaded} />
      {data && (
        <section class="card" aria-label={t('conferences')}>
          {open > 0 && !data.list.some(fits) ? <Empty icon="conferences" title={t('noMatch')} /> : <ConferenceTable list={data.list.filter(fits)} />}
        </section>
      )}
    </div>
  );
}

export function ConferenceTable({ list }: { list: Conference[] }) {
  if (list.length === 0) {
    return (
      <Empty icon="conferences" title={t('noConferences')}>
        {t('noConferencesHow')}
      </Empty>
    );
  }
  return (
    <table class="table">
      <thead>
        <tr>
          <th scope="col">{t('conference')}</th>
          <th scope="col">{t('kind')}</th>
          <th scope="col" class="right">
            {t('members')}
          </th>
          <th scope="col" class="right">
            {t('liveStreams')}
          </th>
          <th scope="col" class="right">
            {t('created')}
          </th>
        </tr>
      </thead>
      <tbody>
        {list.map((conference) => (
          <tr key={conference.confrId} data-conference={conference.confrId}>
            <td class="lead-cell clip">
              <a class={`strong ${title(conference) === conference.confrId ? 'mono' : ''}`} href={`#/conferences/${conference.confrId}`}>
                {title(conference)}
              </a>
            </td>
            <td data-label={t('kind')}>{kindName(conference.type)}</td>
            <td class="right number" data-label={t('members')}>
              {count(conference.members.length)}
            </td>
            <td class="right number" data-label={t('liveStreams')}>
              {count(conference.streams.filter((stream) => stream.live).length)}
            </td>
            <td class="right time" data-label={t('created')}>
              {moment(conference.createdAt)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
