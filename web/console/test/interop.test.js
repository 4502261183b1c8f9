// mpegts.js on a page of somebody else's site plays what the gateway sends: pictures that move, and sound that is decoded.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { advances, browse, sounds, Stage } from './support/stage.js';

const PLAYER = createRequire(import.meta.url).resolve('mpegts.js');
const PAGE = '<!doctype html><title>A site</title><script src="/mpegts.js"></script><video></video>';

let stage;
let browser;
let site;
let streamId;
let confrId;

before(async () => {
  stage = await Stage.open();
  confrId = await stage.conference();
  await stage.join(confrId, 'anna');
  ({ streamId } = await stage.push(confrId, 'anna'));
  browser = await browse('--autoplay-policy=no-user-gesture-required');
  site = http.createServer((request, response) => {
    const isPlayer = request.url === '/mpegts.js';
    response.setHeader('content-type', isPlayer ? 'text/javascript' : 'text/html');
    response.end(isPlayer ? fs.readFileSync(PLAYER) : PAGE);
  });
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
});

after(async () => {
  await browser?.close();
  site?.close();
  await stage?.close();
});

for (const way of ['flv', 'wsFlv']) {
  test(`mpegts.js plays ${way}`, async () => {
    const data = await stage.playUrls(confrId, streamId);
    assert.match(data[way], way === 'flv' ? /^http:/ : /^ws:/);
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
    await page.evaluate((url) => {
      const player = window.mpegts.createPlayer({ type: 'flv', isLive: true, url }, { enableWorker: false });
      player.attachMediaElement(document.querySelector('video'));
      player.load();
      void player.play();
    }, data[way]);
    const video = await advances(page.locator('video'));
    await sounds(video);
    await page.close();
  });
}
