// Renders /openapi.json. Texts become text nodes, never HTML.
'use strict';

/** How deep the fields of an object are shown; deeper ones are named by their schema alone. */
const DEPTH_MAX = 4;
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== false && value != null) node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** `code`, **strong** and paragraphs: what the document uses of Markdown. */
function prose(text) {
  return String(text || '').split(/\n\s*\n/).filter(Boolean).map((paragraph) => element('p', {}, inline(paragraph)));
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/).map((part) => {
    if (part.startsWith('`') && part.length > 2) return element('code', {}, part.slice(1, -1));
    if (part.startsWith('**')) return element('strong', {}, part.slice(2, -2));
    if (part.startsWith('*') && part.length > 2) return element('em', {}, part.slice(1, -1));
    return part;
  });
}

let api;

function resolve(thing) {
  let found = thing;
  for (let hops = 0; found && found.$ref && hops < 8; hops += 1) {
    found = found.$ref.slice(2).split('/').reduce((place, key) => place && place[key.replace(/~1/g, '/')], api);
  }
  return found || {};
}

function nameOf(schema) {
  return schema && schema.$ref ? schema.$ref.split('/').pop() : null;
}

/** The schema with its `allOf` folded and a null among its alternatives taken out. */
function flat(schema) {
  const found = { ...resolve(schema) };
  // What a field says of itself stands beside its reference, and says more than its type does.
  if (schema && schema.$ref && schema.description) found.description = schema.description;
  const alternatives = found.oneOf || found.anyOf;
  if (alternatives) {
    const real = alternatives.filter((one) => one.type !== 'null');
    const optional = real.length < alternatives.length;
    if (real.length === 1) {
      return { ...flat(real[0]), description: found.description || flat(real[0]).description, nullable: optional };
    }
    return { ...found, nullable: optional };
  }
  if (!found.allOf) return found;
  return found.allOf.map(flat).reduce((whole, part) => ({
    ...whole, ...part,
    description: found.description || whole.description || part.description,
    properties: { ...whole.properties, ...merged(whole.properties, part.properties) },
    required: [...(whole.required || []), ...(part.required || [])],
  }), {});
}

function merged(before, added) {
  const both = Object.entries(added || {}).map(([name, schema]) =>
    [name, before && before[name] ? { ...resolve(before[name]), ...schema } : schema]);
  return Object.fromEntries(both);
}

function kindOf(schema) {
  const whole = flat(schema);
  const types = [].concat(whole.type || (whole.properties ? 'object' : [])).filter((type) => type !== 'null');
  const nullable = whole.nullable || [].concat(whole.type || []).includes('null');
  let kind = types.join(' or ') || 'any value';
  if (kind === 'array') kind = `list of ${nameOf(whole.items) || kindOf(whole.items || {})}`;
  else if (kind === 'object' && nameOf(schema)) kind = nameOf(schema);
  if (whole.format === 'date-time') kind = 'time';
  const rules = [];
  if (whole.enum) rules.push(whole.enum.map((value) => JSON.stringify(value)).join(' | '));
  if (whole.minimum != null && whole.maximum != null) rules.push(`${whole.minimum} to ${whole.maximum}`);
  else if (whole.maximum != null) rules.push(`at most ${whole.maximum}`);
  if (whole.maxLength != null) rules.push(`at most ${whole.maxLength} characters`);
  if (whole.maxItems != null) rules.push(`${whole.minItems || 0} to ${whole.maxItems} items`);
  if (nullable) rules.push('or null');
  return [kind, ...rules].join(', ');
}

/** An example: the schema's own, or one made of its parts. */
function example(schema, depth = 0) {
  const whole = flat(schema);
  if (whole.example !== undefined) return whole.example;
  if (whole.examples && whole.examples.length) return whole.examples[0];
  if (whole.default !== undefined) return whole.default;
  if (whole.enum) return whole.enum[0];
  if (whole.oneOf) return example(whole.oneOf[0], depth + 1);
  const type = [].concat(whole.type || (whole.properties ? 'object' : ''))[0];
  if (type === 'object') {
    if (depth > DEPTH_MAX) return {};
    const properties = Object.entries(whole.properties || {});
    return Object.fromEntries(properties.map(([name, property]) => [name, example(property, depth + 1)]));
  }
  if (type === 'array') return depth > DEPTH_MAX ? [] : [example(whole.items || {}, depth + 1)];
  return { integer: 1, number: 1, boolean: false, string: 'text' }[type] ?? null;
}

function fields(schema, depth = 0, above = []) {
  let whole = flat(schema);
  let name = nameOf(schema);
  if ([].concat(whole.type || []).includes('array')) {
    name = nameOf(whole.items);
    whole = flat(whole.items || {});
  }
  const properties = Object.entries(whole.properties || {});
  if (!properties.length || depth > DEPTH_MAX || (name && above.includes(name))) return null;
  const required = new Set(whole.required || []);
  const rows = properties.map(([field, property]) => {
    const inside = fields(property, depth + 1, name ? [...above, name] : above);
    return element('li', {},
      element('span', { class: 'name' }, field),
      element('span', { class: 'kind' }, kindOf(property)),
      required.has(field) ? element('span', { class: 'must' }, 'required') : null,
      prose(flat(property).description),
      inside && element('details', {}, element('summary', { class: 'soft' }, 'Its fields'), inside));
  });
  return element('ul', { class: 'fields' }, rows);
}

function parameters(operation) {
  const rows = (operation.parameters || []).map(resolve).map((parameter) => element('li', {},
    element('span', { class: 'name' }, parameter.name),
    element('span', { class: 'kind' }, `in the ${parameter.in}, ${kindOf(parameter.schema || {})}`),
    parameter.required && parameter.in !== 'path' ? element('span', { class: 'must' }, 'required') : null,
    prose(parameter.description)));
  return rows.length ? [element('h4', {}, 'Parameters'), element('ul', { class: 'fields' }, rows)] : [];
}

function json(value) {
  return element('pre', { tabindex: '0' }, JSON.stringify(value, null, 2));
}

function curl(method, path, operation, body) {
  const bearer = (operation.security || []).map((one) => Object.keys(one)[0]).filter(Boolean)[0];
  const variable = { appKey: '$APP_KEY', userToken: '$USER_TOKEN', ticket: '$TICKET', memberToken: '$ROLE_TOKEN' }[bearer];
  const filled = (operation.parameters || []).map(resolve).filter((parameter) => parameter.in === 'path')
    .reduce((url, parameter) => url.replace(`{${parameter.name}}`, example(parameter.schema || {})), path);
  const lines = [`curl -sS ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}${location.origin}${filled}`];
  if (variable) lines.push(`-H "Authorization: Bearer ${variable}"`);
  if (body !== undefined) lines.push(`-d '${JSON.stringify(body).replace(/'/g, `'\\''`)}'`);
  return element('pre', { tabindex: '0' }, lines.join(' \\\n  '));
}

function answers(operation) {
  const rows = Object.entries(operation.responses || {}).map(([status, reference]) => {
    const response = resolve(reference);
    const [type, content] = Object.entries(response.content || {})[0] || [];
    const inside = [];
    const refused = type === 'application/problem+json';
    const headers = Object.entries(response.headers || {}).filter(([name]) => name !== 'X-Request-Id');
    const about = String(response.description || '');
    if (refused) inside.push(...prose(about));
    for (const [name, header] of headers) {
      inside.push(element('p', { class: 'soft' }, `Header ${name}: `, inline(resolve(header).description || '')));
    }
    if (content && refused) {
      inside.push(json(Object.values(content.examples || {})[0]?.value ?? example(content.schema)));
    } else if (content) {
      const shape = fields(content.schema);
      if (shape) inside.push(shape);
      if (type === 'application/json' && shape) inside.push(json(example(content.schema)));
    }
    const words = refused ? Object.keys(content.examples || {}).map((word) => [element('code', {}, word), ' ']) : inline(about);
    return element('details', {},
      element('summary', {}, element('span', { class: `status ${status < 400 ? 'ok' : 'no'}` }, status), words.flat()),
      inside.length ? inside : element('p', { class: 'soft' }, 'No body.'));
  });
  return [element('h4', {}, 'Answers'), element('div', { class: 'answers' }, rows)];
}

function call(method, path, operation) {
  const node = element('article', { id: operation.operationId },
    element('h3', {}, operation.summary),
    element('p', { class: 'path' }, element('span', { class: `method ${method}` }, method), element('span', {}, path)),
    prose(operation.description));
  const takes = (operation.security || []).map((one) => Object.keys(one)[0]).map((name) => name
    ? element('a', { class: 'badge', href: '#credentials' }, name)
    : element('span', { class: 'badge' }, 'none'));
  if (takes.length) node.append(element('h4', {}, 'Credential, one of'), element('div', {}, takes));
  node.append(...parameters(operation));
  const request = resolve(operation.requestBody).content;
  const schema = request && Object.values(request)[0].schema;
  let sample;
  if (schema) {
    const must = resolve(operation.requestBody).required;
    node.append(element('h4', {}, must ? 'Body' : 'Body, can be left out'));
    node.append(fields(schema) || '');
    const whole = flat(schema);
    const properties = Object.entries(whole.properties || {});
    const needed = properties.filter(([name]) => (whole.required || []).includes(name));
    sample = Object.fromEntries(needed.map(([name, property]) => [name, example(property)]));
  }
  node.append(element('h4', {}, 'Call'), curl(method, path, operation, sample), ...answers(operation));
  return node;
}

function credentials() {
  const schemes = Object.entries((api.components || {}).securitySchemes || {});
  return [
    element('h2', { id: 'credentials' }, 'Credentials'),
    element('p', {}, 'Each goes into ', element('code', {}, 'Authorization: Bearer …'), '.'),
    element('dl', {}, schemes.map(([name, scheme]) =>
      [element('dt', {}, element('code', {}, name)), element('dd', {}, inline(scheme.description || ''))]).flat()),
  ];
}

function render() {
  const main = document.getElementById('main');
  const nav = document.getElementById('nav');
  document.title = `${api.info.title} API ${api.info.version}`;
  main.replaceChildren(
    element('h1', {}, `${api.info.title} API`),
    element('p', { class: 'soft' }, `Version ${api.info.version}. For programs: `, element('a', { href: '/openapi.json' }, '/openapi.json')),
    ...prose(api.info.description), ...credentials());
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path, operation: item[method] })));
  for (const tag of api.tags || []) {
    const own = operations.filter(({ operation }) => (operation.tags || []).includes(tag.name));
    if (!own.length) continue;
    main.append(element('h2', { id: `tag-${tag.name}` }, tag.name), ...prose(tag.description));
    main.append(...own.map(({ method, path, operation }) => call(method, path, operation)));
    const links = own.map(({ method, path, operation }) => element('li', { 'data-text': `${method} ${path} ${operation.summary}`.toLowerCase() },
      element('a', { href: `#${operation.operationId}` }, element('span', { class: `method ${method}` }, method), operation.summary)));
    nav.append(element('section', {}, element('h2', {}, tag.name), element('ul', {}, links)));
  }
  document.getElementById('filter').addEventListener('input', (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const section of nav.children) {
      const rows = [...section.querySelectorAll('li')];
      rows.forEach((row) => { row.hidden = !row.dataset.text.includes(wanted); });
      section.hidden = rows.every((row) => row.hidden);
    }
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

if (matchMedia('(max-width: 52rem)').matches) document.getElementById('side').removeAttribute('open');
fetch('/openapi.json')
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`status ${response.status}`))))
  .then((document) => { api = document; render(); })
  .catch((error) => { document.getElementById('state').textContent = `/openapi.json cannot be read: ${error.message}`; });
