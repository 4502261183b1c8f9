'use strict';

const { spawn, execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);
const REPOSITORY = path.join(__dirname, '../../../..');

/** The binary that cargo built, or the one that TIDEGATE_BIN names. */
function binary() {
  const { TIDEGATE_BIN, CARGO_TARGET_DIR = 'target' } = process.env;
  const candidates = [TIDEGATE_BIN, path.join(CARGO_TARGET_DIR, 'debug/tidegate')].filter(Boolean);
  const found = candidates.map((file) => path.resolve(REPOSITORY, file)).find((file) => fs.existsSync(file));
  if (!found) throw new Error('no gateway to test against: cargo build, or name it in TIDEGATE_BIN');
  return found;
}

/** The real gateway, with a store of its own. */
class Gateway {
  static async start(env) {
    const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'tidegate-sdk-'));
    const gateway = new Gateway();
    gateway._env = Object.assign({}, process.env, {
      TIDEGATE_DATA_DIR: dataDir,
      TIDEGATE_RTMP_LISTEN: '127.0.0.1:0',
      TIDEGATE_HTTP_LISTEN: '127.0.0.1:0',
      TIDEGATE_OPS_LISTEN: '127.0.0.1:0',
      TIDEGATE_DRAIN_MS: '500',
      TIDEGATE_LOG: 'warn',
    }, env);
    // It is ours and no setting.
    delete gateway._env.TIDEGATE_BIN;
    gateway._dataDir = dataDir;
    await gateway.serve();
    gateway.key = await gateway.command('key', 'show');
    return gateway;
  }

  /** What the operator's command prints. */
  async command(...words) {
    return (await run(binary(), words, { env: this._env })).stdout.trim();
  }

  /** Starts the process, the first time or again on the same store and ports. */
  async serve() {
    this._process = spawn(binary(), ['serve'], { env: this._env, stdio: ['ignore', 'pipe', 'inherit'] });
    const listening = await new Promise((resolve, reject) => {
      let text = '';
      this._process.stdout.on('data', (chunk) => {
        text += chunk;
        const line = text.split('\n').find((one) => one.includes('"listening"'));
        if (line) resolve(JSON.parse(line));
      });
      this._process.once('exit', (code) => reject(new Error(`the gateway ended with ${code}`)));
    });
    this.http = `http://${listening.http}`;
    Object.assign(this._env, { TIDEGATE_HTTP_LISTEN: listening.http, TIDEGATE_RTMP_LISTEN: listening.rtmp });
  }

  async stop(signal = 'SIGTERM') {
    const ended = new Promise((resolve) => this._process.once('exit', resolve));
    this._process.kill(signal);
    await ended;
  }

  async close() {
    await this.stop();
    fs.rmSync(this._dataDir, { recursive: true, force: true });
  }

  /** A call as the app's backend. */
  async api(method, pathname, body) {
    const answer = await fetch(this.http + pathname, {
      method,
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${pathname}: ${answer.status} ${text}`);
    return text === '' ? null : JSON.parse(text);
  }

  async token(user, more) {
    return (await this.api('POST', '/v1/user-tokens', Object.assign({ user, can: ['create'] }, more))).token;
  }
}

module.exports = { Gateway };
