// What the reader chose: language and light. Kept in the browser, as it says nothing about the app.

import { useEffect, useState } from 'preact/hooks';
import { inBrowser } from './kept';

export type Language = 'en' | 'zh';
export type Theme = 'auto' | 'light' | 'dark';

let language: Language = (inBrowser.get('language') ?? navigator.language).toLowerCase().startsWith('zh') ? 'zh' : 'en';
let theme: Theme = (['light', 'dark'] as const).find((one) => one === inBrowser.get('theme')) ?? 'auto';
const heard = new Set<() => void>();

function apply(): void {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function keep(name: string, value: string): void {
  inBrowser.set(name, value);
  apply();
  heard.forEach((tell) => tell());
}

export const currentLanguage = () => language;
export const currentTheme = () => theme;

export function setLanguage(next: Language): void {
  language = next;
  keep('language', next);
}

export function setTheme(next: Theme): void {
  theme = next;
  keep('theme', next);
}

/** Draws anew when the reader chooses something else. */
export function usePrefs(): void {
  const [, draw] = useState(0);
  useEffect(() => {
    const tell = () => draw((count) => count + 1);
    heard.add(tell);
    return () => void heard.delete(tell);
  }, []);
}

apply();
