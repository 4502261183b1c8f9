'use strict';

const { spawn } = require('node:child_process');

const PICTURE = ['-f', 'lavfi', '-i', 'testsrc=size=160x120:rate=10'];
const TONE = ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];
const ENCODED = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '10', '-c:a', 'aac'];

/** Codes as the components give them. */
const PUSHER = { connected: 1001, flowing: 1002, refused: 3004, lost: -1307 };
const PLAYER = { connected: 2001, flowing: 2004, refused: 3004, lost: -2301 };

const running = new Set();

/** ffmpeg in the place of a component: `start`, `stop`, and codes to `onCode`. */
class Component {
  constructor(codes, args) {
    this._codes = codes;
    this._args = args;
    this._process = null;
    this.onCode = () => {};
    this.starts = [];
    this.stops = 0;
  }

  /** Lets `track` drive it. */
  drive(track) {
    this.onCode = (code) => track.handleStateChange({ type: 'statechange', detail: { code } });
    track.attach(this);
    return this;
  }

  setUrl(url, done) {
    this._url = url;
    done();
  }

  start() {
    this._end();
    this.starts.push(this._url);
    const ffmpeg = spawn('ffmpeg', ['-nostdin', '-loglevel', 'error', '-nostats', '-progress', 'pipe:1'].concat(this._args(this._url)));
    this._process = ffmpeg;
    running.add(ffmpeg);
    let told = false;
    ffmpeg.stdout.on('data', (chunk) => {
      const frames = /frame=\s*(\d+)|out_time_us=(\d+)/.exec(String(chunk));
      if (told || !frames || Number(frames[1] || frames[2]) === 0 || this._process !== ffmpeg) return;
      told = true;
      this.onCode(this._codes.connected);
      this.onCode(this._codes.flowing);
    });
    let complaint = '';
    ffmpeg.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    ffmpeg.on('exit', () => {
      running.delete(ffmpeg);
      if (this._process !== ffmpeg) return;
      this._process = null;
      this.complaint = complaint;
      this.onCode(/Server error/.test(complaint) ? this._codes.refused : this._codes.lost);
    });
  }

  stop() {
    this.stops += 1;
    this._end();
  }

  /** The network takes it away: the component notices, and gives up. */
  cut() {
    if (this._process) this._process.kill('SIGKILL');
  }

  get isRunning() {
    return this._process !== null;
  }

  _end() {
    const ffmpeg = this._process;
    this._process = null;
    if (ffmpeg) ffmpeg.kill('SIGKILL');
  }
}

/** A live-pusher with a camera that shows a test picture. */
function livePusher() {
  return new Component(PUSHER, (url) => ['-re'].concat(PICTURE, TONE, ENCODED, ['-f', 'flv', url]));
}

/** A live-player that decodes. */
function livePlayer() {
  return new Component(PLAYER, (url) => ['-fflags', 'nobuffer', '-i', url, '-f', 'null', '-']);
}

/** The size of the first decoded picture of a URL. */
function firstPicture(url) {
  return new Promise((resolve, reject) => {
    const probe = spawn('ffprobe', ['-loglevel', 'error', '-read_intervals', '%+#1', '-select_streams', 'v', '-show_entries', 'frame=width,height', '-of', 'csv=p=0:s=x', url]);
    let text = '';
    let complaint = '';
    probe.stdout.on('data', (chunk) => {
      text += chunk;
    });
    probe.stderr.on('data', (chunk) => {
      complaint += chunk;
    });
    probe.on('exit', (code) => {
      if (code === 0 && text.trim()) resolve(text.trim().split('\n')[0].replace(/x$/, ''));
      else reject(new Error(`ffprobe: ${complaint}`));
    });
  });
}

/** Pushes to a URL until `stopMedia`. */
function push(url) {
  const pusher = livePusher();
  pusher.setUrl(url, () => pusher.start());
  return pusher;
}

function stopMedia() {
  for (const ffmpeg of running) ffmpeg.kill('SIGKILL');
}

module.exports = { livePusher, livePlayer, firstPicture, push, stopMedia };
