// The real gateway, the real browser, and ffmpeg as the phones.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, selectors } from 'playwright-core';
import sdk from '../../../../sdk/js/test/support/gateway.js';

const REPOSITORY = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../../..');
const CLIP = path.join(REPOSITORY, 'fixtures/phone-360x640.flv');
/** Longer than anything here takes on a busy machine: only what never comes waits so long. */
export const PATIENCE_MS = 45_000;
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

selectors.setTestIdAttribute('data-test');

/** Debian's Chromium, or the one that CHROMIUM names. */
export function browse(...flags) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...FLAGS, ...flags] });
}

export class Stage {
  static async open(env = {}) {
    const stage = new Stage();
    stage.gateway = await sdk.Gateway.start(env);
    stage.pushes = [];
    return stage;
  }

  get http() {
    return this.gateway.http;
  }

  api(...call) {
    return this.gateway.api(...call);
  }

  async close() {
    for (const push of this.pushes) push.kill('SIGKILL');
    await this.gateway.close();
  }

  async conference(settings = {}) {
    const made = await this.api('POST', '/v1/conferences', { password: '', ...settings });
    return made.confrId;
  }

  /** A member inside, by its ticket. */
  async join(confrId, user, role = 3, more = {}) {
    const { ticket } = await this.api('POST', `/v1/conferences/${confrId}/tickets`, { user, role });
    const answer = await fetch(`${this.http}/v1/conferences/${confrId}/members`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ticket}`, 'content-type': 'application/json' },
      body: JSON.stringify(more),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).member;
  }

  /** Pushes the clip as a stream of `user`, again and again. Its `ended` is when the push is over. */
  async push(confrId, user, rtcId = 'RTC1') {
    const { stream, data } = await this.api('POST', `/v1/conferences/${confrId}/streams`, { user, rtcId });
    const push = spawn('ffmpeg', ['-nostdin', '-loglevel', 'error', '-re', '-stream_loop', '-1', '-i', CLIP, '-c', 'copy', '-f', 'flv', data.rtmp], { stdio: 'ignore' });
    push.ended = new Promise((resolve) => push.once('exit', resolve));
    push.streamId = stream.id;
    this.pushes.push(push);
    return push;
  }

  playUrls(confrId, streamId) {
    return this.api('POST', `/v1/conferences/${confrId}/streams/${streamId}/subscriptions`, {}).then(({ data }) => data);
  }

  look(confrId) {
    return this.api('GET', `/v1/conferences/${confrId}`);
  }
}

/** A page of the gateway, which loads nothing from elsewhere and complains of nothing. `faults` holds what went against that. */
export async function open(browser, stage, where, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // A refusal is an answer like others, though Chromium calls it an error.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['blob:', 'data:'].includes(url.protocol) && url.origin !== stage.http) faults.push(`loads ${url.origin}`);
  });
  await page.goto(`${stage.http}${where}`);
  return { page, context, faults };
}

/** The console with the key typed in. */
export async function logIn(browser, stage, options) {
  const opened = await open(browser, stage, '/console/', options);
  await opened.page.locator('input[type=password]').fill(stage.gateway.key);
  await opened.page.locator('form button').click();
  await opened.page.locator('nav').waitFor();
  return opened;
}

/** When pictures come one after another, and not one that stands still. */
export async function advances(video) {
  const element = await video.elementHandle();
  const page = await element.ownerFrame();
  const seen = () => page.evaluate((video) => ({ frames: video.getVideoPlaybackQuality().totalVideoFrames, time: video.currentTime }), element);
  await page.waitForFunction((video) => video.getVideoPlaybackQuality().totalVideoFrames > 0, element, { timeout: PATIENCE_MS });
  const first = await seen();
  await page.waitForFunction(
    ([video, first]) => video.getVideoPlaybackQuality().totalVideoFrames >= first.frames + 10 && video.currentTime > first.time,
    [element, first],
    { timeout: PATIENCE_MS },
  );
  return element;
}

/** When the element has decoded sound. */
export async function sounds(element) {
  const page = await element.ownerFrame();
  await page.waitForFunction((video) => video.webkitAudioDecodedByteCount > 0, element, { timeout: PATIENCE_MS });
}
