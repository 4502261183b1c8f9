// The join page: a ticket in, pictures and sound out.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { advances, browse, logIn, open, sounds, Stage } from './support/stage.js';

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

async function invitation(confrId, user) {
  const { ticket } = await stage.api('POST', `/v1/conferences/${confrId}/tickets`, { role: 1, ...(user ? { user } : {}) });
  return ticket;
}

test('a link is watched: pictures, sound, a new stream, a kick', async () => {
  const confrId = await stage.conference();
  await stage.join(confrId, 'anna');
  const push = await stage.push(confrId, 'anna');
  const ticket = await invitation(confrId, 'viewer');
  const { page, faults } = await open(browser, stage, `/join#ticket=${ticket}`);
  await page.getByRole('button', { name: 'Watch' }).waitFor();
  assert.equal(new URL(page.url()).hash, '', 'the ticket does not stay in the address');
  await page.getByLabel('Your name').fill('Vera');
  await page.getByRole('button', { name: 'Watch' }).click();

  const video = await advances(page.locator(`[data-stream="${push.streamId}"] video`));
  await sounds(video);
  assert.equal(await video.evaluate((element) => element.muted), false);
  const { members } = await stage.look(confrId);
  assert.deepEqual(members.map(({ name, nickName, role }) => [name, nickName, role]), [['anna', null, 3], ['viewer', 'Vera', 1]]);

  await stage.join(confrId, 'boris');
  const second = await stage.push(confrId, 'boris');
  await advances(page.locator(`[data-stream="${second.streamId}"] video`));

  // A publisher that comes back is watched again, with the URL that the client gets.
  await stage.api('DELETE', `/v1/conferences/${confrId}/streams/${second.streamId}`);
  await second.ended;
  await page.locator(`[data-stream="${second.streamId}"]`).waitFor({ state: 'detached' });
  const again = await stage.push(confrId, 'boris');
  await advances(page.locator(`[data-stream="${again.streamId}"] video`));

  await stage.api('POST', `/v1/conferences/${confrId}/kick`, { memberNames: ['viewer'] });
  await page.getByText('You were removed from the conference.').waitFor();
  await page.getByRole('button', { name: 'Join again' }).click();
  await page.getByText('This ticket is no longer good').waitFor();
  assert.deepEqual(faults, []);
});

test('who closes the page has left, and is not waited for', async () => {
  const confrId = await stage.conference();
  const { page } = await open(browser, stage, `/join#ticket=${await invitation(confrId, 'viewer')}`);
  await page.getByRole('button', { name: 'Watch' }).click();
  await page.getByText('Nobody is live yet').waitFor();
  const console = await logIn(browser, stage);
  await console.page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await console.page.locator('[data-member=viewer]').waitFor();
  await page.close({ runBeforeUnload: true });
  await console.page.locator('[data-event=memberExited]', { hasText: 'viewer left' }).waitFor();
  await console.context.close();
});

test('what is no ticket, and a conference that is over, are told plainly', async () => {
  const { page, faults } = await open(browser, stage, '/join');
  await page.getByLabel('Ticket').fill('hello');
  await page.getByRole('button', { name: 'Watch' }).click();
  await page.getByText('This is not a ticket.').waitFor();
  await page.getByTestId('language').click();
  await page.getByText('这不是有效的票据。').waitFor();
  await page.getByTestId('language').click();

  const confrId = await stage.conference();
  const ticket = await invitation(confrId);
  await page.getByLabel('Ticket').fill(`${stage.http}/join#ticket=${ticket}`);
  await page.getByRole('button', { name: 'Watch' }).click();
  await page.getByText('Nobody is live yet').waitFor();
  await page.getByText('Inside: 1', { exact: true }).waitFor();
  const [guest] = (await stage.look(confrId)).members;
  assert.match(guest.name, /^guest-/);
  await stage.api('DELETE', `/v1/conferences/${confrId}`);
  await page.getByText('The conference is over.').waitFor();
  await page.getByRole('button', { name: 'Join again' }).click();
  await page.locator('.error', { hasText: 'The conference is over.' }).waitFor();
  assert.deepEqual(faults, []);
});
