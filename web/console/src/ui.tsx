// The parts that both pages are made of.

import type { ComponentChildren } from 'preact';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import iconUrl from './icon.svg';
import { currentLanguage, currentTheme, setLanguage, setTheme, type Theme } from './prefs';
import { t } from './text';

const PATHS = {
  overview: 'M4 19V11M10 19V5M16 19v-6M21 19H3',
  conferences: 'M16 19v-1.5a3.5 3.5 0 0 0-3.5-3.5h-5A3.5 3.5 0 0 0 4 17.5V19M10 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M20 19v-1.5a3.5 3.5 0 0 0-2.6-3.4M15.5 5.2a3 3 0 0 1 0 5.6',
  streams: 'M3 7.5A1.5 1.5 0 0 1 4.500 6h9A1.500 1.500 0 0 1 15 7.500v9a1.500 1.500 0 0 1-1.500 1.500h-9A1.500 1.500 0 0 1 3 16.500zM15 10.500l6-3v9l-6-3',
  webhooks: 'M9 11a4 4 0 1 1 6.500-3M12 8l3.500 6.500M15 17a3.500 3.500 0 1 0 2-5M6 14a3.500 3.500 0 1 0 4 3.500H16',
  docs: 'M6 3.500h8.500L19 8v12.500H6zM14 3.500V8.500h5M9 13h6.500M9 16.500h6.500',
  logOut: 'M9.500 20H5V4h4.500M15.500 16l4-4-4-4M19.500 12H9.500',
  light: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 2.500v2M12 19.500v2M4.500 12h-2M21.500 12h-2M6 6 5 5M19 19l-1-1M18 6l1-1M5 19l1-1',
  dark: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500',
  auto: 'M12 20.500a8.500 8.500 0 1 0 0-17zM12 3.500a8.500 8.500 0 0 0 0 17z',
  back: 'M14.500 6l-6 6 6 6',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  invite: 'M14 19v-1.500A3.500 3.500 0 0 0 10.500 14h-4A3.500 3.500 0 0 0 3 17.500V19M8.500 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M18.500 8v6M15.500 11h6',
  sound: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500zM15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11',
  silence: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500zM16 10l5 5M21 10l-5 5',
  mic: 'M12 14.500a3 3 0 0 0 3-3v-5a3 3 0 0 0-6 0v5a3 3 0 0 0 3 3M6 11.500a6 6 0 0 0 12 0M12 17.500V21',
  camera: 'M3 7.500h11v9H3zM14 10.500l6.500-3v9l-6.500-3',
  kick: 'M13 19v-1.500A3.500 3.500 0 0 0 9.500 14h-3A3.500 3.500 0 0 0 3 17.500V19M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M16.500 9.500l4.500 4.500M21 9.500 16.500 14',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  replay: 'M4.500 12a7.500 7.500 0 1 0 2.500-5.600M4.500 4.500v4h4',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, crossed }: { name: IconName; crossed?: boolean }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={crossed ? `${PATHS[name]}M4 4l16 16` : PATHS[name]} />
    </svg>
  );
}

export function Brand() {
  return (
    <div class="brand">
      <img src={iconUrl} alt="" width="28" height="28" />
      <span>{t('product')}</span>
    </div>
  );
}

const NEXT_THEME: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
const THEME_TEXT = { auto: 'themeAuto', light: 'themeLight', dark: 'themeDark' } as const;

/** Language and light. */
export function Prefs() {
  const theme = currentTheme();
  const other = currentLanguage() === 'zh' ? 'en' : 'zh';
  return (
    <>
      <button
        type="button"
        class="button ghost"
        lang={other === 'zh' ? 'zh-CN' : 'en'}
        data-test="language"
        onClick={() => setLanguage(other)}
      >
        {t('languageOther')}
      </button>
      <button
        type="button"
        class="button ghost square"
        data-test="theme"
        title={t(THEME_TEXT[theme])}
        aria-label={t(THEME_TEXT[theme])}
        onClick={() => setTheme(NEXT_THEME[theme])}
      >
        <Icon name={theme} />
      </button>
    </>
  );
}

/** What a page is called, a sentence about it, and at its side what can be done there. */
export function PageHead({ title, lead, children }: { title: string; lead: ComponentChildren; children?: ComponentChildren }) {
  return (
    <div class="head">
      <div>
        <h1>{title}</h1>
        <p class="lead">{lead}</p>
      </div>
      {children}
    </div>
  );
}

/** A page with one panel, through which one comes to the others. */
export function WayIn({ title, lead, children }: { title: string; lead?: string; children: ComponentChildren }) {
  return (
    <div class="gate">
      <main class="card panel">
        <Brand />
        <div>
          <h1>{title}</h1>
          {lead && <p class="muted small lead">{lead}</p>}
        </div>
        {children}
      </main>
      <div class="foot">
        <Prefs />
      </div>
    </div>
  );
}

export interface Column<Row> {
  head: string;
  /** Of its head and its cells. */
  class?: string;
  /** `lead` names what the row is about, and `actions` what can be done: neither needs its head beside it. */
  kind?: 'lead' | 'actions';
  cell: (row: Row) => ComponentChildren;
}

/** A table, of which a phone shows each row as a card with the heads beside the cells. `mark` and `idOf` name a row, to the page and to tests. */
export function Table<Row>({ rows, columns, mark, idOf }: { rows: Row[]; columns: Column<Row>[]; mark: string; idOf: (row: Row) => string }) {
  return (
    <table class="table">
      <thead>
        <tr>
          {columns.map(({ head, kind, ...column }) => (
            <th key={head} scope="col" class={column.class}>
              {kind === 'actions' ? <span class="hidden">{head}</span> : head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={idOf(row)} {...{ [`data-${mark}`]: idOf(row) }}>
            {columns.map(({ head, kind, cell, ...column }) => (
              <td key={head} class={kind === 'lead' ? 'lead-cell clip' : kind === 'actions' ? 'bare' : column.class} data-label={kind ? undefined : head}>
                {kind === 'actions' ? <div class="row-actions">{cell(row)}</div> : cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <strong>{title}</strong>
      {children && <p>{children}</p>}
    </div>
  );
}

/** A window above the page: Escape closes it, and the keyboard stays inside. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = box.current!;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={box}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      {children}
    </dialog>
  );
}

/** What a dialog does, one at a time. It tells itself what was refused: a toast stands behind it, out of reach of screen readers. */
export function useDoing(): { busy: boolean; refused: ComponentChildren; run: (what: () => Promise<void>) => Promise<void> } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const run = async (what: () => Promise<void>) => {
    setBusy(true);
    setError(null);
    try {
      await what();
    } catch (refused) {
      setError(refused as Error);
    }
    setBusy(false);
  };
  const refused = error && (
    <p class="error" role="alert">
      {refusal(error)}
    </p>
  );
  return { busy, refused, run };
}

/** Asks before what cannot be taken back. */
export function Confirm(props: { title: string; text: string; action: string; onClose: () => void; onConfirm: () => Promise<unknown> }) {
  const { busy, refused, run } = useDoing();
  const confirm = async () => {
    await props.onConfirm();
    props.onClose();
  };
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div class="inner">
        <h2>{props.title}</h2>
        <p>{props.text}</p>
        {refused}
        <div class="actions">
          <button type="button" class="button" onClick={props.onClose}>
            {t('cancel')}
          </button>
          <button type="button" class="button danger solid" data-test="confirm" disabled={busy} onClick={() => void run(confirm)}>
            {props.action}
          </button>
        </div>
      </div>
    </Dialog>
  );
}

export function CopyButton({ text, label, showLabel }: { text: string; label: string; showLabel?: boolean }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return toast(text);
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <button type="button" class={`button ghost ${showLabel ? '' : 'square'}`} title={label} aria-label={copied ? t('copied') : label} onClick={() => void copy()}>
      <Icon name={copied ? 'check' : 'copy'} />
      {showLabel && (copied ? t('copied') : label)}
    </button>
  );
}

interface Toast {
  id: number;
  text: string;
  isError: boolean;
}

const TOAST_MS = 6000;
let toasts: Toast[] = [];
let drawToasts: () => void = () => {};
let newest = 0;

/** Tells in a corner what came of something. */
export function toast(text: string, isError = false): void {
  newest += 1;
  const id = newest;
  toasts = [...toasts.slice(-2), { id, text, isError }];
  drawToasts();
  setTimeout(() => {
    toasts = toasts.filter((one) => one.id !== id);
    drawToasts();
  }, TOAST_MS);
}

export function Toasts() {
  const [, draw] = useState(0);
  drawToasts = useCallback(() => draw((drawn) => drawn + 1), []);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.map((one) => (
        <div key={one.id} class={`toast ${one.isError ? 'danger' : ''}`}>
          {one.text}
        </div>
      ))}
    </div>
  );
}

/** Why something was not done, for a person. */
export function refusal(error: Error): string {
  return (error as { reason?: string }).reason === 'network' ? t('noAnswerNow') : t('failed', { detail: error.message });
}

/** Does something that may be refused, and says so. */
export async function attempt(what: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await what();
    if (done) toast(done);
    return true;
  } catch (error) {
    toast(refusal(error as Error), true);
    return false;
  }
}

export interface Loaded<T> {
  data: T | null;
  error: Error | null;
  reload: () => Promise<void>;
}

/** Loads now, every `everyMs`, and when it is told to; what was there stays while it fails. Of several answers the one that was asked for last counts. */
export function useLoaded<T>(load: () => Promise<T>, everyMs: number): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: Error | null }>({ data: null, error: null });
  const asked = useRef(0);
  const reload = useCallback(async () => {
    asked.current += 1;
    const own = asked.current;
    const answer = await load().then(
      (data) => () => ({ data, error: null }),
      (error: Error) => (before: { data: T | null }) => ({ data: before.data, error }),
    );
    if (own === asked.current) setState(answer);
  }, [load]);
  useEffect(() => {
    let over = false;
    let timer = 0;
    const turn = async () => {
      await reload();
      if (!over) timer = window.setTimeout(() => void turn(), everyMs);
    };
    void turn();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [reload, everyMs]);
  return { ...state, reload };
}

/** What to show while there is nothing yet, or above what has become old. */
export function Trouble({ loaded }: { loaded: Pick<Loaded<unknown>, 'data' | 'error'> }) {
  if (loaded.error) {
    const network = (loaded.error as { reason?: string }).reason === 'network';
    return (
      <div class="banner danger" role="alert">
        {network ? t('noAnswer') : t('failed', { detail: loaded.error.message })}
      </div>
    );
  }
  return loaded.data === null ? (
    <p class="loading" role="status">
      {t('loading')}
    </p>
  ) : null;
}
