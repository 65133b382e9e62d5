// The frame: who is signed in, which page is shown, in which language and scheme.
import { button, choice, h, problem, put, say } from './dom.js';
import { enter, info, load, signOut, signedIn } from './call.js';
import { language, LANGUAGES, setLanguage, t } from './words.js';
import { recipe } from './recipe.js';
import { zones } from './zones.js';
import { zone } from './zone.js';
import { explain } from './explain.js';
import { live } from './live.js';
import { cache, doctor, statistics } from './state.js';
import { forward } from './forward.js';
import { transfer } from './transfer.js';

const PAGES = { recipe, zones, forward, explain, log: live, statistics, cache, doctor, transfer };
const HIDDEN = { zone };
const main = document.getElementById('main');
let ended = null;

/** `#/zone/ID/records?name=x`: the page, what follows it, and its settings. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map((part) => safely(() => decodeURIComponent(part)) || '');
  const has = (pages) => Object.hasOwn(pages, name);
  return { name: has(PAGES) || has(HIDDEN) ? name : 'recipe', rest, settings: new URLSearchParams(query || '') };
}

function frame(current) {
  document.documentElement.lang = language() === 'zh' ? 'zh-CN' : 'en';
  document.title = `${t(current)} – ${t('title')}`;
  put(document.getElementById('skip'), t('skip'));
  const shown = current === 'zone' ? 'zones' : current;
  const scheme = document.documentElement.className || 'system';
  put(document.getElementById('top'),
    h('b', {}, t('title')),
    signedIn() && h('nav', { 'aria-label': t('pages') }, Object.keys(PAGES).map((name) =>
      h('a', { href: `#/${name}`, 'aria-current': name === shown && 'page' }, t(name)))),
    h('div', { class: 'tools' },
      info.role === 'read' && h('span', { class: 'warn' }, t('readOnly')),
      choice(LANGUAGES, language(), { 'aria-label': t('language'), onchange: (event) => { setLanguage(event.target.value); show(); } }),
      choice(['system', 'light', 'dark'].map((one) => [one, t(one)]), scheme,
        { 'aria-label': t('scheme'), onchange: (event) => { paint(event.target.value); } }),
      signedIn() && button(t('signOut'), signOut)));
}

function paint(scheme) {
  document.documentElement.className = scheme === 'system' ? '' : scheme;
  try { localStorage.setItem('pvtzd.scheme', scheme); } catch { /* not kept then */ }
}

let turn = 0;

async function show(moved) {
  const mine = ++turn;
  ended?.();
  ended = null;
  const { name, rest, settings } = place();
  if (!signedIn()) {
    frame('signIn');
    put(main, h('h1', {}, t('signIn')), h('div', { class: 'card' }, h('p', {}, t('signInHow')), h('pre', {}, 'pvtzd console'),
      h('p', { class: 'soft' }, t('signInLab'))));
    return;
  }
  await load(); // VPCs may have come
  if (mine !== turn) return; // another page is wanted by now
  frame(name);
  const view = { ...PAGES, ...HIDDEN }[name](rest, settings);
  ended = view.end;
  put(main, h('h1', {}, view.title || t(name)), view.nodes || view);
  if (moved) main.focus();
}

async function start() {
  paint(safely(() => localStorage.getItem('pvtzd.scheme')) || 'system');
  const code = /^#code=(.+)$/.exec(location.hash);
  if (code) {
    history.replaceState(null, '', '#/recipe'); // the code is not to stay in the address
    try { await enter(code[1]); } catch (error) {
      if (!signedIn()) { await show(); main.append(problem(error)); return; }
      say(error.message);
    }
  }
  try { await show(); } catch (error) { if (error.code !== 'NoSession') put(main, problem(error)); }
}

function safely(look) { try { return look(); } catch { return null; } }

addEventListener('hashchange', () => location.hash.startsWith('#code=') ? start() : show(true).catch((error) => put(main, problem(error))));
addEventListener('signed-out', () => { delete info.version; show(); });
document.getElementById('skip').addEventListener('click', () => main.focus());
start();
