// A receiver of Tidegate's webhooks: node 18 or later, no dependencies.
//
//   TIDEGATE_WEBHOOK_SECRET=whsec_… PORT=3000 node receiver.mjs
//
// It prints one line for each message that it takes.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const secret = process.env.TIDEGATE_WEBHOOK_SECRET;
if (!secret) throw new Error('set TIDEGATE_WEBHOOK_SECRET to the secret of the target');

// Older messages are refused, so that one that was overheard cannot be played again later.
const TOLERANCE_SECONDS = 300;
// A conference with many members is some hundred kilobytes.
const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** Whether `body` (a Buffer, as it came) was signed with `secret` not long ago. */
export function isGenuine(header, body, secret, nowSeconds = Date.now() / 1000) {
  const parts = String(header).split(',').map((part) => part.split('='));
  const time = parts.find(([key]) => key === 't')?.[1] ?? '';
  if (!/^\d+$/.test(time) || Math.abs(nowSeconds - Number(time)) > TOLERANCE_SECONDS) return false;
  const wanted = createHmac('sha256', secret).update(`${time}.`).update(body).digest();
  // While a secret is changed there are two signatures; one that fits is enough.
  return parts.some(([key, value]) => {
    const given = Buffer.from(key === 'v1' ? value ?? '' : '', 'hex');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

// Messages come at least once: the same id is the same event. Keep this in your database, beside what you do.
const seen = new Set();

function take(event) {
  if (seen.has(event.id)) return;
  seen.add(event.id);
  console.log(`${event.type} ${event.id}`);
}

const server = createServer((request, response) => {
  const chunks = [];
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) request.destroy();
    else chunks.push(chunk);
  });
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    if (request.method !== 'POST' || !isGenuine(request.headers['tidegate-signature'], body, secret)) {
      response.writeHead(401).end();
      return;
    }
    take(JSON.parse(body));
    // Answer once the event is safe with you; until then it is sent again.
    response.writeHead(204).end();
  });
});

server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
