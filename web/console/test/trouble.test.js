// What goes wrong: a gateway that is away or refuses, a key that is replaced, a network that drops one answer, a browser that keeps nothing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { advances, browse, logIn, open, Stage } from './support/stage.js';

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

/** Answers with a refusal of the gateway. */
const refuse = (status, reason, detail) => (route) => route.fulfill({ status, contentType: 'application/problem+json', body: JSON.stringify({ reason, detail }) });

/** Lets the first request to `pattern` fail as a network does that is gone, and the others pass. */
async function dropFirst(page, pattern) {
  let isDropped = false;
  await page.route(pattern, (route) => {
    if (isDropped) return route.continue();
    isDropped = true;
    return route.abort();
  });
}

test('an address that cannot be read leads to the overview', async () => {
  const { page, context, faults } = await logIn(browser, stage);
  await page.goto(`${stage.http}/console/#/%E0%A4%A`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test('who cannot log in is told why', async () => {
  const { page, context } = await open(browser, stage, '/console/');
  const give = async (key) => {
    await page.locator('input[type=password]').fill(key);
    await page.locator('form button').click();
  };
  // No header can carry it, so that no gateway is ever asked.
  await give('app.密钥…');
  await page.getByText('This app key is not valid.').waitFor();
  await page.route('**/v1/overview', refuse(429, 'rate_limited', 'too many wrong credentials from this address'));
  await give(stage.gateway.key);
  await page.getByRole('alert').getByText('too many wrong credentials from this address').waitFor();
  await page.unroute('**/v1/overview');
  await context.setOffline(true);
  await give(stage.gateway.key);
  await page.getByText('The gateway does not answer').waitFor();
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

test('an answer to a key of before logs nobody out', async () => {
  const { page, context } = await open(browser, stage, '/console/');
  let late = null;
  const asked = new Promise((resolve) => {
    late = resolve;
  });
  await page.route('**/v1/**', (route) => {
    const headers = route.request().headers();
    if (!headers.authorization?.endsWith('old.key')) return route.continue();
    if (route.request().url().includes('/v1/conferences')) return late(route);
    return route.continue({ headers: { ...headers, authorization: `Bearer ${stage.gateway.key}` } });
  });
  const give = async (key) => {
    await page.locator('input[type=password]').fill(key);
    await page.locator('form button').click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
  };
  await give('old.key');
  const held = await asked;
  await page.getByTestId('log-out').locator('visible=true').click();
  await give(stage.gateway.key);
  const answered = page.waitForResponse((response) => response.status() === 401);
  await refuse(401, 'unauthenticated', 'no such key')(held);
  await answered;
  await page.getByRole('link', { name: 'Conferences', exact: true }).click();
  await page.getByRole('heading', { name: 'Conferences' }).waitFor();
  await context.close();
});

test('a call that is never answered is given up', async () => {
  const { page, context } = await open(browser, stage, '/console/');
  await page.clock.install();
  await page.reload();
  await page.locator('input[type=password]').fill(stage.gateway.key);
  const asked = new Promise((resolve) => {
    void page.route('**/v1/conferences?*', () => resolve());
  });
  await page.locator('form button').click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByRole('link', { name: 'Conferences', exact: true }).click();
  await asked;
  await page.getByText('Loading…').waitFor();
  await page.clock.fastForward(60_000);
  await page.getByRole('alert').getByText('The gateway does not answer').waitFor();
  await context.close();
});

test('a refusal does not end a conference, and passes', async () => {
  const confrId = await stage.conference();
  const { page, context } = await logIn(browser, stage);
  const path = `**/v1/conferences/${confrId}`;
  await page.route(path, refuse(503, 'store_unavailable', 'the store does not answer'));
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.getByRole('alert').getByText('the store does not answer').waitFor();
  await page.unroute(path);
  await page.getByRole('heading', { name: confrId }).waitFor();
  await page.getByRole('alert').waitFor({ state: 'detached' });

  await page.goto(`${stage.http}/console/#/conferences/TS_nothing`);
  await page.getByRole('heading', { name: 'There is no such conference in this app.' }).waitFor();
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.getByRole('heading', { name: confrId }).waitFor();

  // Of a conference that is shown, the last that was known stays.
  await page.route(path, refuse(503, 'store_unavailable', 'the store does not answer'));
  await stage.join(confrId, 'anna');
  await page.getByRole('alert').getByText('the store does not answer').waitFor();
  await page.getByRole('heading', { name: confrId }).waitFor();
  await page.unroute(path);
  await page.locator('[data-member=anna]').waitFor();
  await context.close();
});

test('who goes to another page leaves no connection behind', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'anna');
  await stage.push(confrId, 'anna');
  const { page, context, faults } = await logIn(browser, stage);
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket));
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await advances(page.locator('video'));
  assert.ok(sockets.length >= 2, 'the events and the picture');
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await Promise.all(sockets.map((socket) => socket.isClosed() || socket.waitForEvent('close')));
  assert.deepEqual(faults, []);
  await context.close();
});

test('an answer that comes late does not undo a newer one', async () => {
  const letter = (id) => ({ id, targetId: 'main', confrId: id, fromSeq: 1, toSeq: 1, firstFailureAt: '2026-01-01T00:00:00Z', lastFailureAt: '2026-01-01T00:00:00Z', lastError: '503', attempts: 1, replaying: false });
  const answer = (route, ...letters) => route.fulfill({ json: { deadLetters: letters, nextCursor: null } });
  const { page, context } = await logIn(browser, stage);
  let asked = 0;
  let late;
  const isLate = new Promise((resolve) => {
    late = resolve;
  });
  await page.route('**/v1/webhooks/dead-letters?*', (route) => {
    asked += 1;
    if (asked === 1) return answer(route, letter('TS_first'));
    return asked === 2 ? late(route) : answer(route);
  });
  await page.route('**/replay', (route) => route.fulfill({ json: {} }));
  await page.goto(`${stage.http}/console/#/webhooks`);
  await page.locator('[data-letter=TS_first]').waitFor();
  const held = await isLate;
  await page.locator('[data-letter=TS_first]').getByRole('button').click();
  await page.getByText('No dead letters').waitFor();
  await page.evaluate(() => {
    window.drawn = [];
    new MutationObserver(() => window.drawn.push(document.body.textContent)).observe(document.body, { childList: true, subtree: true });
  });
  const next = page.waitForRequest('**/v1/webhooks/dead-letters?*');
  await answer(held, letter('TS_second'));
  await next;
  assert.ok(!(await page.evaluate(() => window.drawn)).some((text) => text.includes('TS_second')));
  await context.close();
});

test('a stream whose figures are not known does not count as not live', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'dora');
  const push = await stage.push(confrId, 'dora');
  const { page, context } = await logIn(browser, stage);
  await page.route(`**/streams/${push.streamId}/stats`, refuse(503, 'overloaded', 'too much at once'));
  await page.goto(`${stage.http}/console/#/streams`);
  const row = page.locator(`[data-stream="${push.streamId}"]`);
  await row.getByText('Live, no figures').waitFor();
  await page.unroute(`**/streams/${push.streamId}/stats`);
  await row.getByText('Good').waitFor();
  await context.close();
});

test('a viewer that was slow once is no trouble for ever', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'dora');
  const push = await stage.push(confrId, 'dora');
  const { page, context } = await logIn(browser, stage);
  let skips = 3;
  await page.route(`**/streams/${push.streamId}/stats`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), skips } });
  });
  await page.goto(`${stage.http}/console/#/streams`);
  const row = page.locator(`[data-stream="${push.streamId}"]`);
  await row.getByText('Good').waitFor();
  skips += 1;
  await row.getByText('Slow viewers').waitFor();
  await context.close();
});

test('pictures come though the player or a URL for it did not the first time', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'anna');
  await stage.push(confrId, 'anna');
  for (const dropped of ['**/assets/mpegts-*', '**/subscriptions']) {
    const { page, context } = await logIn(browser, stage);
    await dropFirst(page, dropped);
    await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
    await advances(page.locator('video'));
    await context.close();

    const { ticket } = await stage.api('POST', `/v1/conferences/${confrId}/tickets`, { role: 1 });
    const viewer = await open(browser, stage, `/join#ticket=${ticket}`);
    await dropFirst(viewer.page, dropped);
    await viewer.page.getByRole('button', { name: 'Watch' }).click();
    await advances(viewer.page.locator('video'));
    await viewer.context.close();
  }
});

test('what a dialog could not do is told in the dialog', async () => {
  const confrId = await stage.conference();
  const { page, context } = await logIn(browser, stage);
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.route('**/tickets', refuse(503, 'store_unavailable', 'the store does not answer'));
  await page.getByRole('button', { name: 'Invite a viewer' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  await dialog.getByRole('alert').getByText('the store does not answer').waitFor();
  await page.unroute('**/tickets');
  await dialog.getByRole('button', { name: 'Make a link' }).click();
  const link = dialog.getByTestId('link');
  await link.waitFor();
  assert.ok(await link.evaluate((element) => document.activeElement === element), 'the link has the focus');
  await dialog.getByRole('button', { name: 'Close' }).click();

  await page.route(`**/v1/conferences/${confrId}`, refuse(503, 'store_unavailable', 'the store does not answer'));
  await page.getByTestId('end').click();
  await dialog.getByTestId('confirm').click();
  await dialog.getByRole('alert').getByText('the store does not answer').waitFor();
  await page.unroute(`**/v1/conferences/${confrId}`);
  await dialog.getByTestId('confirm').click();
  await page.getByRole('heading', { name: 'This conference has ended.' }).waitFor();
  await context.close();
});

test('a gateway that starts again is told on the page of a conference, which goes on', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'anna');
  const { page, context } = await logIn(browser, stage);
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.locator('[data-member=anna]').waitFor();
  await page.getByText('As it happens').waitFor();
  await stage.gateway.stop();
  await page.getByRole('alert').getByText('The gateway does not answer').waitFor();
  await stage.gateway.serve();
  await page.getByRole('alert').waitFor({ state: 'detached' });
  await stage.join(confrId, 'boris', 1);
  await page.locator('[data-event=memberJoined]', { hasText: 'boris joined' }).waitFor();
  await page.locator('[data-member=boris]').waitFor();
  await context.close();
});

test('who has a key that was replaced is asked for the new one', async () => {
  const confrId = await stage.conference();
  const { page, context } = await logIn(browser, stage);
  await page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await page.getByText('As it happens').waitFor();
  const [app] = stage.gateway.key.split('.');
  const next = await stage.gateway.command('app', 'rotate', app);
  await stage.gateway.command('app', 'rotate', app, '--finish');
  // Nothing happens in the conference: that it is asked about at times is enough.
  await page.getByText('The gateway no longer takes this key.').waitFor();
  stage.gateway.key = next;
  await page.locator('input[type=password]').fill(stage.gateway.key);
  await page.locator('form button').click();
  await page.getByRole('heading', { name: confrId }).waitFor();
  await context.close();
});
