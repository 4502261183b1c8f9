'use strict';

// Writes the SDK as single files, without other tools: `dist/tidegate.js` (CommonJS, for mini programs and node),
// `dist/tidegate.mjs` (an ES module), `dist/emedia_for_miniProgram.js` (what emedia's apps require), and the copies
// that the example carries.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const EXAMPLE = path.join(ROOT, '../../examples/miniprogram/miniprogram/lib/tidegate');
const NOTE = '// Tidegate client. Apache-2.0. Made from sdk/js/src by sdk/js/tools/bundle.js: change it there.\n';

/**
 * All modules that `file` needs, itself last: `[{ id, code }]`. Their `require` becomes `load`, which the developer
 * tools do not try to resolve.
 */
function collect(file, seen = new Map()) {
  const id = path.relative(path.join(ROOT, 'src'), file);
  if (seen.has(id)) return seen;
  seen.set(id, null);
  const code = fs.readFileSync(file, 'utf8').replace(/require\('(\.[^']*)'\)/g, (_, wanted) => {
    const target = require.resolve(path.resolve(path.dirname(file), wanted));
    collect(target, seen);
    return `load('${path.relative(path.join(ROOT, 'src'), target)}')`;
  });
  seen.set(id, code.replace(/^'use strict';\n/, ''));
  return seen;
}

function bundle() {
  const modules = collect(path.join(ROOT, 'src/index.js'));
  const names = Object.keys(require(path.join(ROOT, 'src')));
  const body = Array.from(modules, ([id, code]) => `sources['${id}'] = function (module, load) {\n${code.trim()}\n};\n`).join('\n');
  const core = `const sources = {};
const loaded = {};

function load(id) {
  if (!loaded[id]) {
    const module = { exports: {} };
    loaded[id] = module;
    sources[id](module, load);
  }
  return loaded[id].exports;
}

${body}`;
  const emedia = `${NOTE}'use strict';

/* global wx */

const { emedia } = require('./tidegate.js');

// emedia's apps also reach it as wx.emedia.
if (typeof wx !== 'undefined' && !wx.emedia) {
  try {
    wx.emedia = emedia;
  } catch (_) {
    // A wx that takes nothing new is used by the name that required this.
  }
}

module.exports = emedia;
`;
  return {
    'tidegate.js': `${NOTE}'use strict';\n\n${core}\nmodule.exports = load('index.js');\n`,
    'tidegate.mjs': `${NOTE}${core}\nconst client = load('index.js');\n\nexport default client;\nexport const { ${names.join(', ')} } = client;\n`,
    'emedia_for_miniProgram.js': emedia,
  };
}

function write(folder, files) {
  fs.mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
}

if (require.main === module) {
  const files = bundle();
  // npm's builder in the developer tools looks for index.js.
  write(path.join(ROOT, 'dist'), Object.assign({ 'index.js': "module.exports = require('./tidegate.js');\n" }, files));
  const { 'tidegate.mjs': _, ...forMiniPrograms } = files;
  if (fs.existsSync(path.dirname(path.dirname(EXAMPLE)))) write(EXAMPLE, forMiniPrograms);
}

module.exports = { bundle, EXAMPLE };
