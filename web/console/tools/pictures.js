// Draws the pictures of the documentation anew: a gateway with a conference in it, seen in Chromium. `npm run pictures`.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { advances, browse, logIn, Stage } from '../test/support/stage.js';

const FOLDER = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../docs/images');

const stage = await Stage.open({ TIDEGATE_OVERVIEW_SAMPLE_MS: '500' });
const browser = await browse();
try {
  const opened = await stage.api('POST', '/v1/rooms/standup/members', { user: 'mei', config: { nickName: 'Mei Lin' } });
  const { confrId } = opened.confr;
  await stage.api('POST', '/v1/rooms/lunch/members', { user: 'host' });
  await stage.join(confrId, 'anna', 3, { nickName: 'Anna' });
  await stage.join(confrId, 'boris', 3, { nickName: 'Boris' });
  await stage.join(confrId, 'clara', 1);
  for (const user of ['mei', 'anna', 'boris']) await stage.push(confrId, user);
  await stage.api('POST', `/v1/conferences/${confrId}/mute`, { memberNames: ['boris'], audio: true });

  const wide = await logIn(browser, stage, { viewport: { width: 1280, height: 1010 } });
  await wide.page.goto(`${stage.http}/console/#/conferences/${confrId}`);
  await wide.page.locator('video').nth(2).waitFor();
  for (const video of await wide.page.locator('video').all()) await advances(video);
  await wide.page.locator('.tile', { hasText: 'GOP' }).nth(2).waitFor();
  await wide.page.screenshot({ path: path.join(FOLDER, 'console-conference.png') });

  const phone = await logIn(browser, stage, { viewport: { width: 390, height: 780 }, isMobile: true, colorScheme: 'dark' });
  await phone.page.getByRole('img', { name: /at most [1-9].* kbit\/s|Mbit/ }).waitFor();
  await phone.page.screenshot({ path: path.join(FOLDER, 'console-phone.png') });
} finally {
  await browser.close();
  await stage.close();
}
