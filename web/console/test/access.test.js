// For everybody: two languages, light and dark, a phone's width, the keyboard, and what axe-core finds.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { advances, browse, logIn, open, Stage } from './support/stage.js';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let stage;
let browser;
let confrId;
let pages;

before(async () => {
  stage = await Stage.open({ TIDEGATE_OVERVIEW_SAMPLE_MS: '200', TIDEGATE_OUTBOUND_ALLOW: '127.0.0.0/8', TIDEGATE_WEBHOOK_GIVE_UP_SECONDS: '1', TIDEGATE_WEBHOOK_RETRY_MIN_MS: '10', TIDEGATE_WEBHOOK_RETRY_MAX_MS: '50' });
  browser = await browse();
  // Nobody listens there: what is told becomes a dead letter.
  await stage.api('PUT', '/v1/webhooks', { targets: [{ id: 'main', url: 'http://127.0.0.1:9/a-long-path/of/an-app', events: ['memberJoined', 'memberExited'] }] });
  confrId = await stage.conference();
  await stage.join(confrId, 'anna', 3, { nickName: 'A nickname that is rather long for a phone' });
  await stage.join(confrId, `user-${'x'.repeat(60)}`, 1);
  await stage.push(confrId, 'anna');
  pages = [
    { hash: '', shows: '.metric .area' },
    { hash: '#/conferences', shows: '[data-conference]' },
    { hash: `#/conferences/${confrId}`, shows: '[data-event]' },
    { hash: '#/streams', shows: '[data-stream] .badge.ok' },
    { hash: '#/webhooks', shows: '[data-letter]' },
  ];
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

async function visit(page, { hash, shows }) {
  await page.goto(`${stage.http}/console/${hash}`);
  await page.locator(shows).first().waitFor();
}

async function violations(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
}

const fitsWidth = (page) => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);

for (const colorScheme of ['light', 'dark']) {
  test(`axe-core finds nothing serious (${colorScheme})`, async () => {
    const { page, context } = await logIn(browser, stage, { colorScheme });
    for (const where of pages) {
      await visit(page, where);
      assert.deepEqual(await violations(page), [], where.hash);
    }
    await visit(page, pages[2]);
    await page.getByTestId('end').click();
    await page.getByRole('dialog').waitFor();
    assert.deepEqual(await violations(page), [], 'a dialog');
    await context.close();
    for (const where of ['/console/', '/join']) {
      const gate = await open(browser, stage, where, { colorScheme });
      await gate.page.locator('form').waitFor();
      assert.deepEqual(await violations(gate.page), [], where);
      await gate.context.close();
    }
  });
}

test('a phone shows every page without a scroll to the side, in both languages', async () => {
  const { page, context } = await logIn(browser, stage, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  for (const language of ['en', 'zh-CN']) {
    for (const where of pages) {
      await visit(page, where);
      assert.equal(await page.evaluate(() => document.documentElement.lang), language);
      assert.ok(await fitsWidth(page), `${where.hash} in ${language}`);
    }
    await page.getByTestId('language').locator('visible=true').click();
  }
  await context.close();
  for (const where of ['/console/', '/join']) {
    const gate = await open(browser, stage, where, { viewport: { width: 320, height: 640 } });
    await gate.page.locator('form').waitFor();
    assert.ok(await fitsWidth(gate.page), where);
    await gate.context.close();
  }
});

test('the language is the reader\'s, and the choice is kept', async () => {
  const { page, context } = await open(browser, stage, '/console/', { locale: 'zh-CN' });
  await page.getByRole('heading', { name: '登录' }).waitFor();
  await page.getByTestId('language').click();
  await page.getByRole('heading', { name: 'Log in' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Log in' }).waitFor();
  await context.close();
});

test('light and dark follow the system until one is chosen', async () => {
  const { page, context } = await open(browser, stage, '/console/', { colorScheme: 'dark' });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await background();
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await background();
  assert.notEqual(light, dark);
  await page.getByTestId('theme').click();
  await page.getByRole('button', { name: 'Appearance: light' }).waitFor();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await background(), light);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.getByTestId('theme').click();
  await page.getByRole('button', { name: 'Appearance: dark' }).waitFor();
  assert.equal(await background(), dark);
  await page.reload();
  await page.getByRole('button', { name: 'Appearance: dark' }).waitFor();
  assert.equal(await background(), dark);
  await context.close();
});

test('everything can be done by keyboard, and one sees where one is', async () => {
  const { page, context } = await open(browser, stage, '/console/');
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return { name: element.getAttribute('aria-label') ?? element.textContent.trim(), isSeen: outlineStyle !== 'none' && outlineWidth !== '0px' };
  });
  /** Tabs until something of that name has the focus; each stop must be seen. */
  const tabTo = async (name) => {
    for (let stops = 0; stops < 60; stops += 1) {
      await page.keyboard.press('Tab');
      const stop = await focused();
      assert.ok(stop.isSeen, `no ring around "${stop.name}"`);
      if (stop.name === name) return;
    }
    assert.fail(`no Tab leads to ${name}`);
  };
  await page.locator('input[type=password]').waitFor();
  assert.ok(await page.evaluate(() => document.activeElement.matches('input[type=password]')), 'the field has the focus');
  await page.keyboard.insertText(stage.gateway.key);
  await page.keyboard.press('Enter');
  await page.locator(`[data-conference="${confrId}"]`).waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('Tab');
  assert.equal((await focused()).name, 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'content');
  await tabTo(confrId);
  await page.keyboard.press('Enter');
  const tile = page.locator('[data-stream]');
  await advances(tile.locator('video'));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'content', 'a new page begins at its top');
  await tabTo('End conference');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal((await focused()).name, 'Cancel', 'the harmless answer is the first');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal((await focused()).name, 'End conference', 'the focus is back where it was');
  await tabTo('Mute sound of A nickname that is rather long for a phone');
  await page.keyboard.press('Space');
  await tile.getByText('Sound muted').waitFor();
  await context.close();
});
