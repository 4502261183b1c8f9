// What is committed in dist is what the sources give, so that a gateway built without node carries what was reviewed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const HOME = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

function files(folder) {
  const names = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const read = names.map((entry) => {
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    return [path.relative(folder, file), fs.readFileSync(file)];
  });
  return new Map(read.sort());
}

test('dist is what the sources give', async () => {
  const outDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-console-'));
  await build({ root: HOME, logLevel: 'error', build: { outDir, emptyOutDir: true } });
  const [kept, made] = [files(path.join(HOME, 'dist')), files(outDir)];
  fs.rmSync(outDir, { recursive: true });
  const way = 'run `npm run build` in web/console and commit dist';
  assert.deepEqual([...kept.keys()], [...made.keys()], way);
  for (const [name, bytes] of made) assert.ok(bytes.equals(kept.get(name)), `${name}: ${way}`);
});

test('a page holds no script and no style of its own', () => {
  for (const name of ['index.html', 'join.html']) {
    const text = fs.readFileSync(path.join(HOME, 'dist', name), 'utf8');
    assert.doesNotMatch(text, /<style|style=|\son\w+=|https?:\/\//);
    for (const [, attributes, content] of text.matchAll(/<script([^>]*)>([^]*?)<\/script>/g)) {
      assert.match(attributes, /src="/);
      assert.equal(content, '');
    }
  }
});
