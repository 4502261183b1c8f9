// The console as an operator uses it.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { advances, browse, logIn, open, Stage } from './support/stage.js';

let stage;
let browser;

before(async () => {
  stage = await Stage.open({
    TIDEGATE_OVERVIEW_SAMPLE_MS: '200',
    TIDEGATE_OUTBOUND_ALLOW: '127.0.0.0/8',
    TIDEGATE_WEBHOOK_RETRY_MIN_MS: '10',
    TIDEGATE_WEBHOOK_RETRY_MAX_MS: '50',
    TIDEGATE_WEBHOOK_GIVE_UP_SECONDS: '1',
  });
  browser = await browse();
});

after(async () => {
  await browser?.close();
  await stage?.close();
});

test('the key is checked, kept in the tab alone, and forgotten', async () => {
  const { page, context, faults } = await open(browser, stage, '/console/');
  const [app] = stage.gateway.key.split('.');
  await page.locator('input[type=password]').fill(`${app}.not-the-secret`);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('This app key is not valid.').waitFor();
  await page.locator('input[type=password]').fill(stage.gateway.key);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByText(app).waitFor();

  const kept = () => page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, location.href]);
  const [session, ...others] = await kept();
  assert.ok(session.includes(stage.gateway.key));
  others.forEach((place) => assert.ok(!place.includes(stage.gateway.key), place));
  assert.deepEqual(await context.cookies(), []);
  await page.reload();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  const other = await context.newPage();
  await other.goto(`${stage.http}/console/`);
  await other.locator('input[type=password]').waitFor();

  await page.getByTestId('log-out').locator('visible=true').click();
  await page.locator('input[type=password]').waitFor();
  assert.ok(!(await kept()).some((place) => place.includes(stage.gateway.key)));
  assert.deepEqual(faults, []);
  await context.close();
});

test('a conference is seen live, run, and ended', async () => {
  const confrId = await stage.conference();
  const path = `/v1/conferences/${confrId}`;
  await stage.join(confrId, 'anna', 3, { nickName: 'Anna' });
  await stage.join(confrId, 'boris', 3);
  const push = await stage.push(confrId, 'anna');
  const { page, context, faults } = await logIn(browser, stage);

  await page.locator(`[data-conference="${confrId}"] a`).click();
  const tile = page.locator(`[data-stream="${push.streamId}"]`);
  await advances(tile.locator('video'));
  await tile.getByText(/bit\/s/).waitFor();
  // Who looks on is nobody's member and nobody's sign of life.
  const { sessions } = await stage.api('GET', `/v1/sessions?confrId=${confrId}`);
  assert.deepEqual(sessions.filter(({ direction }) => direction === 'play').map(({ observer, user, protocol }) => [observer, user, protocol]), [[true, null, 'wsFlv']]);
  const playsAnew = async () => {
    await tile.getByText('Connecting…').waitFor({ state: 'detached' });
    await advances(tile.locator('video'));
  };
  const names = async () => (await stage.look(confrId)).members.map(({ name }) => name);
  assert.deepEqual(await names(), ['anna', 'boris']);

  await tile.getByTestId('mute-audio').click();
  await tile.getByText('Sound muted').waitFor();
  // The name says what a click does; a pressed state besides would say that sound is given back.
  assert.equal(await tile.getByRole('button', { name: 'Give sound back to Anna' }).getAttribute('aria-pressed'), null);
  assert.deepEqual((await stage.look(confrId)).members[0].muted, { audio: true, video: false });
  // A picture does not wait for sound that is held back.
  await playsAnew();
  await tile.getByTestId('mute-audio').click();
  await tile.getByText('Sound muted').waitFor({ state: 'detached' });
  assert.deepEqual((await stage.look(confrId)).members[0].muted, { audio: false, video: false });
  await playsAnew();

  await page.getByLabel('Role of boris').selectOption('Audience');
  await page.locator('[data-event=roleChanged]', { hasText: 'boris is now Audience' }).waitFor();
  assert.equal((await stage.look(confrId)).members[1].role, 1);

  // What happens elsewhere is seen without a reload.
  await stage.join(confrId, 'clara', 1);
  await page.locator('[data-member=clara]').waitFor();
  await page.locator('[data-event=memberJoined]', { hasText: 'clara joined as Audience' }).waitFor();

  await tile.getByTestId('kick').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Kick' }).click();
  await tile.waitFor({ state: 'detached' });
  await push.ended;
  await page.locator('[data-event=memberExited]', { hasText: 'Anna was kicked' }).waitFor();
  assert.deepEqual(await names(), ['boris', 'clara']);

  await page.getByTestId('end').click();
  await page.getByRole('dialog').getByRole('button', { name: 'End conference' }).click();
  await page.getByRole('heading', { name: 'This conference has ended.' }).waitFor();
  await assert.rejects(stage.api('GET', path), /410/);
  assert.deepEqual(faults, []);
  await context.close();
});

test('the overview tells how it went, and the streams page how they do', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'dora');
  const push = await stage.push(confrId, 'dora');
  const { page, context, faults } = await logIn(browser, stage);
  await page.getByRole('img', { name: /^Members over the last hour, now [1-9]/ }).waitFor();
  await page.getByRole('img', { name: /from publishers at most [1-9]\d* kbit\/s/ }).waitFor();
  await assert.rejects(stage.api('GET', '/v1/conferences/TS_nothing'), /404/);
  await page.getByRole('img', { name: /^Refused requests from .*: [1-9]/ }).waitFor();

  await page.getByRole('link', { name: 'Streams' }).click();
  const row = page.locator(`[data-stream="${push.streamId}"]`);
  await row.getByText('Good').waitFor();
  await row.getByText('H264 360×640 + AAC').waitFor();
  await stage.api('DELETE', `/v1/conferences/${confrId}`);
  await row.waitFor({ state: 'detached' });
  assert.deepEqual(faults, []);
  await context.close();
});

test('a dead letter is replayed', async () => {
  let isDown = true;
  let told = () => {};
  const heard = new Promise((resolve) => {
    told = resolve;
  });
  const receiver = http.createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(isDown ? 503 : 200).end();
      if (!isDown) told();
    });
  });
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${receiver.address().port}/hook`;
  await stage.api('PUT', '/v1/webhooks', { targets: [{ id: 'main', url, events: ['memberJoined'] }] });
  const confrId = await stage.conference();
  await stage.join(confrId, 'anna');

  const { page, context, faults } = await logIn(browser, stage);
  await page.getByRole('link', { name: 'Webhooks' }).click();
  await page.locator('[data-target=main]').getByText(url).waitFor();
  const letter = page.locator('[data-letter]', { hasText: confrId });
  await letter.getByText('503').waitFor();
  isDown = false;
  await letter.getByRole('button', { name: `Replay the dead letter of ${confrId}` }).click();
  await heard;
  await letter.waitFor({ state: 'detached' });
  await page.getByText('No dead letters').waitFor();
  assert.deepEqual(faults, []);
  await stage.api('PUT', '/v1/webhooks', { targets: [] });
  receiver.close();
  await context.close();
});

test('a gateway that is away is told, and found again', async () => {
  const { page, context } = await logIn(browser, stage);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await context.setOffline(true);
  await page.getByRole('alert').getByText('The gateway does not answer').waitFor();
  await context.setOffline(false);
  await page.getByRole('alert').waitFor({ state: 'detached' });
  await context.close();
});
