// The operators' console: who is logged in, and which page stands behind the address.

import './style.css';
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { call, isLoggedIn, logOut, onRejected, root, type Overview } from './api';
import { ConferencePage } from './pages/conference';
import { ConferencesPage } from './pages/conferences';
import { Login } from './pages/login';
import { OverviewPage } from './pages/overview';
import { StreamsPage } from './pages/streams';
import { WebhooksPage } from './pages/webhooks';
import { usePrefs } from './prefs';
import { t } from './text';
import licences from './third-party.txt?url';
import { Brand, Icon, Prefs, Toasts } from './ui';

const PAGES = [
  { name: 'overview', page: OverviewPage },
  { name: 'conferences', page: ConferencesPage },
  { name: 'streams', page: StreamsPage },
  { name: 'webhooks', page: WebhooksPage },
] as const;

/** The address behind `#/`, as words. Who types one may mistype it. */
const place = () => location.hash.replace(/^#\/?/, '').split('/').map(readable);

function readable(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

function Console() {
  usePrefs();
  const [isIn, setIn] = useState(isLoggedIn());
  const [wasRejected, setRejected] = useState(false);
  useEffect(() => {
    onRejected(() => {
      logOut();
      setRejected(true);
      setIn(false);
    });
  }, []);
  document.title = t('console');
  const leave = () => {
    logOut();
    setRejected(false);
    setIn(false);
    location.hash = '';
  };
  if (!isIn) return <Login wasRejected={wasRejected} onDone={() => setIn(true)} />;
  return <Shell onLeave={leave} />;
}

function Shell({ onLeave }: { onLeave: () => void }) {
  const [words, setWords] = useState(place());
  const [about, setAbout] = useState<Overview | null>(null);
  const content = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useEffect(() => {
    const moved = () => setWords(place());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  useEffect(() => {
    call<Overview>('GET', 'v1/overview').then(setAbout, () => {});
  }, []);
  const current = PAGES.find(({ name }) => name === words[0]) ?? PAGES[0];
  const conference = current.name === 'conferences' ? words[1] : undefined;
  useEffect(() => {
    // A new page begins at its top, for eyes and for screen readers.
    if (!isFirst.current) {
      scrollTo(0, 0);
      content.current?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [current.name, conference]);
  document.title = `${t(current.name)} · ${t('console')}`;
  const docs = new URL('docs', root).href;
  const leaveButton = (
    <button type="button" class="button ghost square" data-test="log-out" onClick={onLeave} title={t('logOut')} aria-label={t('logOut')}>
      <Icon name="logOut" />
    </button>
  );
  return (
    <>
      <a
        class="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          content.current?.focus();
        }}
      >
        {t('skip')}
      </a>
      <div class="shell">
        <header class="topbar">
          <Brand />
          <div class="prefs">
            <a class="button ghost square" href={docs} target="_blank" rel="noreferrer" title={t('apiDocs')} aria-label={t('apiDocs')}>
              <Icon name="docs" />
            </a>
            <Prefs />
            {leaveButton}
          </div>
        </header>
        <div class="side">
          <Brand />
          <nav class="nav" aria-label={t('navigation')}>
            {PAGES.map(({ name }) => (
              <a key={name} href={`#/${name}`} aria-current={name === current.name ? 'page' : undefined}>
                <Icon name={name} />
                {t(name)}
              </a>
            ))}
            <a class="wide" href={docs} target="_blank" rel="noreferrer">
              <Icon name="docs" />
              {t('apiDocs')}
            </a>
          </nav>
          <div class="foot">
            {about && (
              <p class="small muted clip">
                {t('app')} <span class="mono">{about.appId}</span>
                <br />
                {t('version', { version: about.version })} · <a href={licences}>{t('licences')}</a>
              </p>
            )}
            <div class="prefs">
              <Prefs />
              {leaveButton}
            </div>
          </div>
        </div>
        <main ref={content} id="content" tabIndex={-1}>
          {conference ? <ConferencePage key={conference} id={conference} /> : <current.page />}
        </main>
      </div>
      <Toasts />
    </>
  );
}

render(<Console />, document.getElementById('app')!);
