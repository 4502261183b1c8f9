import { useState } from 'preact/hooks';
import { ApiError, logIn } from '../api';
import { t } from '../text';
import { refusal, WayIn } from '../ui';

export function Login({ wasRejected, onDone }: { wasRejected: boolean; onDone: () => void }) {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<Error | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setWrong(null);
    try {
      await logIn(key.trim());
      onDone();
    } catch (error) {
      setWrong(error as Error);
      setBusy(false);
    }
  };
  const isKey = wrong instanceof ApiError && wrong.status === 401;
  return (
    <WayIn title={t('logIn')} lead={t('loginLead')}>
      {wasRejected && !wrong && (
        <p class="banner" role="alert">
          {t('keyRejected')}
        </p>
      )}
      <form onSubmit={(event) => void submit(event)}>
        <label class="field">
          <span>{t('appKey')}</span>
          <input
            class="input mono"
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            autofocus
            value={key}
            aria-describedby="key-hint key-error"
            aria-invalid={isKey}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
          <small class="hint" id="key-hint">
            {t('appKeyHint')}
          </small>
        </label>
        <p class="error" id="key-error" role="alert" hidden={!wrong}>
          {wrong && (isKey ? t('wrongKey') : refusal(wrong))}
        </p>
        <button class="button primary" disabled={busy || key.trim() === ''}>
          {busy ? t('checking') : t('logIn')}
        </button>
      </form>
    </WayIn>
  );
}
