import { useState } from 'preact/hooks';
import { conferences, type Conference } from '../api';
import { count, moment, t } from '../text';
import { Empty, PageHead, Table, Trouble, useLoaded, type Column } from '../ui';
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
      <PageHead
        title={t('conferences')}
        lead={data && (open === 0 ? t('noneOpen') : open === 1 ? t('oneOpen') : data.isCut ? t('cut', { count: count(open) }) : t('conferencesLead', { count: count(open) }))}
      >
        {open > 0 && (
          <label>
            <span class="hidden">{t('filter')}</span>
            <input class="input" type="search" size={30} placeholder={t('filter')} value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
          </label>
        )}
      </PageHead>
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
  return <Table rows={list} columns={columns()} mark="conference" idOf={(conference) => conference.confrId} />;
}

const columns = (): Column<Conference>[] => [
  {
    head: t('conference'),
    kind: 'lead',
    cell: (conference) => (
      <a class={`strong ${title(conference) === conference.confrId ? 'mono' : ''}`} href={`#/conferences/${conference.confrId}`}>
        {title(conference)}
      </a>
    ),
  },
  { head: t('kind'), cell: (conference) => kindName(conference.type) },
  { head: t('members'), class: 'right number', cell: (conference) => count(conference.members.length) },
  { head: t('liveStreams'), class: 'right number', cell: (conference) => count(conference.streams.filter((stream) => stream.live).length) },
  { head: t('created'), class: 'right time', cell: (conference) => moment(conference.createdAt) },
];
