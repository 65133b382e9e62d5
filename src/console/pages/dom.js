// Elements out of data. Text is always set as text: what comes from queries and from the API cannot become markup.
import { t } from './words.js';

const PAGE = 100; // items of a page

// Characters that act on a line without being seen: controls, directional marks, zero-width and tag characters.
const HAZARD = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb]|\udb40[\udc00-\udfff]/g;
export const plain = (text) => String(text).replace(HAZARD, (sign) => [...sign].map((one) =>
  `\\u{${one.codePointAt(0).toString(16)}}`).join(''));

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled') node[name] = value;
    else node.setAttribute(name, value === true ? '' : plain(value));
  }
  add(node, children);
  return node;
}

export function add(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(plain(child)));
  }
  return node;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) =>
  build(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
export const put = (node, ...children) => { node.replaceChildren(); return add(node, children); };

let number = 0;
export const newId = () => `n${++number}`;

/** A label, its input, and a hint below. */
export function field(label, input, hint) {
  input.id ||= newId();
  const small = hint && h('small', { id: newId() }, hint);
  if (small) input.setAttribute('aria-describedby', small.id);
  return h('div', { class: 'field' }, h('label', { for: input.id }, label), input, small);
}

export function tick(label, attributes) {
  const input = h('input', { type: 'checkbox', id: newId(), ...attributes });
  return { input, node: h('div', { class: 'field' }, h('span', {}, input, ' ', h('label', { for: input.id }, label))) };
}

export const text = (attributes) => h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes });

/** A choice; options are values or [value, label]. */
export function choice(options, value, attributes) {
  const node = h('select', attributes, options.map((one) => {
    const [key, label] = Array.isArray(one) ? one : [one, one];
    return h('option', { value: key }, label);
  }));
  if (value !== undefined) node.value = value;
  return node;
}

/** Rows under a head. A cell is content, or { number } for one that lines up right. */
export function table(caption, head, rows, empty) {
  if (!rows.length) return h('p', { class: 'soft' }, empty || t('nothing'));
  const isNumber = (cell) => cell !== null && typeof cell === 'object' && 'number' in cell;
  return h('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', { class: 'stack' }, h('caption', {}, caption),
      h('thead', {}, h('tr', {}, head.map((one, at) =>
        h('th', { scope: 'col', class: isNumber(rows[0][at]) && 'number' }, one)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((cell, at) =>
        h('td', { 'data-head': head[at], class: isNumber(cell) && 'number' }, h('div', {}, isNumber(cell) ? cell.number : cell))))))));
}

export const button = (label, onclick, kind) => h('button', { type: 'button', class: kind, onclick }, label);

/** Text to copy. */
export function copyable(content, label) {
  const copy = button(t('copy'), async () => {
    try { await navigator.clipboard.writeText(content); } catch {
      const range = document.createRange();
      range.selectNodeContents(pre);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand('copy');
    }
    say(t('copied'));
  });
  copy.setAttribute('aria-label', `${t('copy')}: ${label}`);
  const pre = h('pre', { tabindex: '0', 'aria-label': label }, content);
  return h('div', { class: 'copy' }, pre, copy);
}

export function say(message) {
  const node = document.getElementById('say');
  put(node, h('p', {}, message));
  clearTimeout(say.timer);
  say.timer = setTimeout(() => put(node), 5000);
}

export const problem = (error) => h('p', { class: 'error', role: 'alert' }, told(error));
export const told = (error) => error.code ? `${error.code}: ${error.message}` : String(error.message || error);

/** A dialog with a form. `act` does the work; it stays open and shows what went wrong if that fails. */
export function dialog(title, content, act, label = t('ok'), kind = 'main') {
  const opener = document.activeElement;
  const wrong = h('div');
  const submit = h('button', { class: kind }, label);
  const heading = h('h2', { id: newId() }, title);
  const form = h('form', {
    method: 'dialog', novalidate: true, onsubmit: async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try { await act(); node.close(); } catch (error) { put(wrong, problem(error)); }
      submit.disabled = false;
    },
  }, heading, content, wrong, h('div', { class: 'row' }, submit, button(t('cancel'), () => node.close())));
  const node = h('dialog', { 'aria-labelledby': heading.id, onclose: () => { node.remove(); opener?.isConnected && opener.focus(); } }, form);
  document.body.append(node);
  node.showModal();
  return node;
}

/** True while a part of the page has the focus or selected text: drawing it anew would destroy these. */
export function inUse(node) {
  const chosen = getSelection();
  return node.contains(document.activeElement) || (chosen?.type === 'Range' && node.contains(chosen.anchorNode));
}

/** A function that does the work once it has not been called for so many milliseconds. */
export function later(milliseconds, work) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(work, milliseconds); };
}

export const ask = (title, content, act) => dialog(title, h('p', {}, content), act, title, 'bad');

/** Content that is loaded; an error is shown in its place. */
export function loading(load) {
  const node = h('div', {}, h('p', { class: 'soft' }, t('loading')));
  let turn = 0; // what was asked for last is shown, whatever answer comes last
  const again = async () => {
    const mine = ++turn;
    const show = (content) => { if (mine === turn) put(node, content); };
    try { show(await load(again)); } catch (error) { if (error.code !== 'NoSession') show(problem(error)); }
  };
  node.again = again;
  again();
  return node;
}

/** A list by pages: `load` gives the items of a page and how many there are in all, `draw` shows them. */
export function paged(load, draw, { start = 1, moved } = {}) {
  let at = Math.min(1e6, Math.max(1, Math.floor(start) || 1)), focus = '';
  const node = loading(async (again) => {
    let [items, total] = await load(at);
    const last = Math.max(1, Math.ceil(total / PAGE));
    if (at > last) [items, total] = await load(at = last); // there were more when the address was made
    const go = (name, to) => {
      const control = button(t(name), () => { at = to; focus = name; moved?.(at); again(); });
      control.disabled = to === at || to < 1 || to > last;
      if (focus === name) setTimeout(() => (control.disabled ? control.parentNode : control).focus());
      return control;
    };
    const turn = last > 1 && h('nav', { class: 'row', tabindex: '-1', 'aria-label': t('pageOf', at, last) },
      go('firstPage', 1), go('previousPage', at - 1), h('span', {}, t('pageOf', at, last)), go('nextPage', at + 1), go('lastPage', last));
    focus = '';
    return [draw(items, total, again), turn];
  });
  node.first = () => { at = 1; moved?.(at); node.again(); };
  return node;
}
