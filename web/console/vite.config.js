// Builds both pages into `dist`, which is committed and stands in the binary: whoever builds the gateway needs no node. The same
// sources give the same bytes, which `test/build.test.js` holds.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = path.dirname(fileURLToPath(import.meta.url));

export default defineConfig({
  root: here,
  base: './',
  resolve: { alias: { '@tidegate/client': path.join(here, '../../sdk/js/dist/tidegate.mjs') } },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  // The console stands at /console/ and the join page at /join; what they load stands at /assets/, behind whatever path a proxy adds.
  experimental: {
    renderBuiltUrl(filename, { hostId, hostType }) {
      if (hostType !== 'html') return { relative: true };
      return hostId.endsWith('join.html') ? filename : `../${filename}`;
    },
  },
  build: {
    target: 'es2020',
    cssTarget: 'chrome90',
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 400,
    rollupOptions: { input: { index: path.join(here, 'index.html'), join: path.join(here, 'join.html') } },
  },
});
