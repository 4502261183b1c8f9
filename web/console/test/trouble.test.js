// What goes wrong: a gateway that is away or refuses, a key that is replaced, a network that drops one answer, a browser that keeps nothing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, logIn, Stage } from './support/stage.js';

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

test('a browser that keeps nothing shows both pages all the same', async () => {
  const confrId = await stage.conference();
  const { ticket } = await stage.api('POST', `/v1/conferences/${confrId}/tickets`, { role: 1 });
  const context = await browser.newContext({ locale: 'en-GB' });
  await context.addInitScript(() => {
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, {
        get() {
          throw new DOMException('no', 'SecurityError');
        },
      });
    }
  });
  const page = await context.newPage();
  await page.goto(`${stage.http}/console/`);
  await page.locator('input[type=password]').fill(stage.gateway.key);
  await page.locator('form button').click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.getByRole('heading', { name: confrId }).waitFor();
  await page.goto(`${stage.http}/join#ticket=${ticket}`);
  await page.getByRole('button', { name: 'Watch' }).click();
  await page.getByText('Nobody is live yet').waitFor();
  await context.close();
});
