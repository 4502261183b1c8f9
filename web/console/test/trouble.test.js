// What goes wrong: a gateway that is away or refuses, a key that is replaced, a network that drops one answer, a browser that keeps nothing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, logIn, open, Stage } from './support/stage.js';

let stage;
let browser;

before(async () => {
  stage = await Stage.open();
  browser = await browse();
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

test('an address that cannot be read leads to the overview', async () => {
  const { page, context, faults } = await logIn(browser, stage);
  await page.goto(`${stage.http}/console/#/%E0%A4%A`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});
