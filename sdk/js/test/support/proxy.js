'use strict';

const net = require('node:net');

/** A way to the gateway that can be cut, and closed for a while. */
class Proxy {
  static async to(url) {
    const proxy = new Proxy();
    const { hostname, port } = new URL(url);
    proxy._pairs = new Set();
    proxy.isOpen = true;
    proxy.connections = 0;
    proxy._server = net.createServer((near) => {
      if (!proxy.isOpen) return near.destroy();
      proxy.connections += 1;
      const far = net.connect(Number(port), hostname);
      const pair = { near, far };
      proxy._pairs.add(pair);
      near.pipe(far).pipe(near);
      const end = () => {
        near.destroy();
        far.destroy();
        proxy._pairs.delete(pair);
      };
      for (const socket of [near, far]) socket.on('error', end).on('close', end);
      return undefined;
    });
    await new Promise((resolve) => proxy._server.listen(0, '127.0.0.1', resolve));
    proxy.url = `http://127.0.0.1:${proxy._server.address().port}`;
    return proxy;
  }

  /** Ends all that goes through it now. */
  cut() {
    for (const { near, far } of this._pairs) {
      near.destroy();
      far.destroy();
    }
  }

  /** Nothing passes until `open`. */
  shut() {
    this.isOpen = false;
    this.cut();
  }

  open() {
    this.isOpen = true;
  }

  async close() {
    this.shut();
    await new Promise((resolve) => this._server.close(resolve));
  }
}

module.exports = { Proxy };
