// Every text of both pages, in both languages. `{name}` stands for what is put in.

import { currentLanguage } from './prefs';
import { en } from './text/en';
import { zh } from './text/zh';

export type TextKey = keyof typeof en;

const texts: Record<'en' | 'zh', Record<TextKey, string>> = { en, zh };

export function t(key: TextKey, values: Record<string, string | number> = {}): string {
  return texts[currentLanguage()][key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ''));
}

const locale = () => (currentLanguage() === 'zh' ? 'zh-CN' : 'en-GB');

export const clock = (at: string | number) => new Date(at).toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit' });
export const clockSeconds = (at: string) => new Date(at).toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const moment = (at: string) => new Date(at).toLocaleString(locale(), { dateStyle: 'medium', timeStyle: 'short' });
export const count = (number: number) => number.toLocaleString(locale());

export function bitrate(bps: number): string {
  if (bps >= 1e9) return `${(bps / 1e9).toFixed(2)} Gbit/s`;
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(bps >= 1e7 ? 0 : 1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

export function span(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}
