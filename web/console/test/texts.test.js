// Both languages say the same: that each has every text is checked with the types.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { transformWithEsbuild } from 'vite';

const SOURCES = path.join(path.dirname(fileURLToPath(import.meta.url)), '../src');
/** Texts whose names are put together from what the API tells. */
const MADE = /^(role|kind|evExited)\d+$/;

async function texts(language) {
  const { code } = await transformWithEsbuild(fs.readFileSync(path.join(SOURCES, `text/${language}.ts`), 'utf8'), `${language}.ts`);
  const loaded = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  return loaded[language];
}

const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();

test('both languages put in the same values', async () => {
  const [en, zh] = [await texts('en'), await texts('zh')];
  for (const [name, text] of Object.entries(en)) assert.deepEqual(places(zh[name]), places(text), name);
});

test('every text is said somewhere', async () => {
  const files = fs.readdirSync(SOURCES, { recursive: true }).filter((name) => /\.tsx?$/.test(name) && !/^text\W/.test(name));
  // Classes are words too.
  const code = files.map((name) => fs.readFileSync(path.join(SOURCES, name), 'utf8').replace(/class=("[^"]*"|\{[^}]*\})/g, '')).join('\n');
  const unsaid = Object.keys(await texts('en')).filter((name) => !MADE.test(name) && !new RegExp(`['"]${name}['"]`).test(code));
  assert.deepEqual(unsaid, []);
});
