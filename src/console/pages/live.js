// Answers as they are given: filters in the address and applied by the server, at most 500 rows, and how many answers
// there were beside them. The table is drawn once a second, and not while the keyboard is in it: else the focus is lost.
import { button, choice, field, h, inUse, later, put, table, text, told } from './dom.js';
import { post } from './call.js';
import { t } from './words.js';

const ROWS = 500;
const FIELDS = ['name', 'type', 'code', 'client', 'path'];
const CHOICES = {
  code: ['NOERROR', 'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'FORMERR', 'NOTIMP', 'YXDOMAIN', 'BADVERS'],
  path: ['AUTH', 'AUTH_FAST', 'AUTH_SLOW', 'CACHE', 'FORWARD', 'GLOBAL'],
};
// What this page calls itself; another one has filters of its own.
const reader = [...crypto.getRandomValues(new Uint8Array(12))].map((octet) => octet.toString(16).padStart(2, '0')).join('');

export function live(_, settings) {
  const pick = (one, set) => choice([['', t('every')], ...new Set([...CHOICES[one], ...(set ? [set] : [])])], set);
  const inputs = Object.fromEntries(FIELDS.map((one) => [one, CHOICES[one]
    ? pick(one, settings.get(one) || '') : text({ value: settings.get(one) || '', maxlength: 255 })]));
  const list = h('div');
  const state = h('p', { class: 'soft', role: 'status' });
  const stop = button('', () => { paused = !paused; missed = 0; if (!paused && stale) [rows, drawn, stale] = [[], 0, false]; address(); });
  let rows = [], page = { last: 0, began: 0, seen: 0, matched: 0 }, wrong = null;
  let ended = false, stale = false, paused = settings.get('paused') === '1', missed = 0, drawn = 0, timer = 0, turn = 0;

  const wanted = () => Object.fromEntries(FIELDS.map((one) => [one, inputs[one].value.trim()]).filter(([, value]) => value));
  let asked = JSON.stringify(wanted());
  function address() {
    const set = { ...wanted(), ...(paused ? { paused: '1' } : {}) };
    history.replaceState(null, '', `#/log${Object.keys(set).length ? `?${new URLSearchParams(set)}` : ''}`);
    draw();
  }
  // Other rows are asked for once nothing was typed for a moment.
  const changed = later(300, () => {
    address();
    const now = JSON.stringify(wanted());
    if (ended || now === asked) return;
    asked = now;
    [wrong, missed] = [null, 0];
    if (paused) stale = true; // what is looked at stays
    else [rows, drawn] = [[], 0];
    page = { last: page.last, began: 0, seen: 0, matched: 0 };
    draw();
    read();
  });
  function draw() {
    const held = inUse(list);
    put(stop, t(paused ? 'goOn' : 'pause'));
    put(state, wrong ? h('span', { class: 'bad' }, told(wrong))
      : [t('logState', rows.length, page.matched, Math.max(0, page.matched - rows.length), page.seen),
        paused ? h('b', { class: 'warn' }, ` ${t('paused', missed)}`) : held && h('b', { class: 'warn' }, ` ${t('heldByFocus')}`)]);
    if (drawn && (held || paused)) return;
    drawn = 1;
    put(list, table(t('log'), [t('time'), t('client'), 'VPC', t('name'), t('type'), t('code'), t('answer'), t('pathOf'), 'ms'],
      rows.slice().reverse().map((row) => [clock(row.time), row.src_addr, row.vpc_id,
        h('a', { href: `#/explain?${new URLSearchParams({ name: row.query_name, type: row.query_type, ...(/^[\da-f.:]+$/i.test(row.src_addr) ? { client: row.src_addr } : {}) })}` }, row.query_name),
        row.query_type, h('span', { class: ['NOERROR', 'NXDOMAIN'].includes(row.rcode) ? '' : 'bad' }, row.rcode),
        h('span', { class: 'mono' }, short(row.answer_rrset)), row.module_type, { number: row.rt }]), t('logEmpty')));
  }
  const clock = (time) => `${new Date(time).toLocaleTimeString([], { hour12: false })}.${time.slice(20, 23)}`;
  const short = (answer) => answer.length > 160 ? `${answer.slice(0, 159)}…` : answer;

  async function read() {
    const mine = ++turn;
    while (!ended && mine === turn) {
      try {
        const told = await post('log', { reader, after: page.last, began: page.began, ...JSON.parse(asked) });
        if (ended || mine !== turn) return;
        if (told.began !== page.began && !paused) [rows, drawn] = [[], 0];
        page = told;
        if (paused) missed += told.rows.length;
        else rows = [...rows, ...told.rows].slice(-ROWS);
        wrong = null;
        if (!drawn) draw();
        else timer ||= setTimeout(() => { timer = 0; if (!ended) draw(); }, 1000);
        if (!told.rows.length) await new Promise((ready) => setTimeout(ready, 400));
      } catch (error) {
        if (error.code === 'NoSession' || ended || mine !== turn) return;
        wrong = error;
        draw();
        if (error.code === 'InvalidParameter') return; // until the filter is another one
        await new Promise((ready) => setTimeout(ready, 3000));
      }
    }
  }
  draw();
  read();
  return { end: () => { ended = true; clearTimeout(timer); }, nodes: [
    h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); changed(); }, oninput: changed },
      FIELDS.map((one) => field(t(one === 'path' ? 'pathOf' : one), inputs[one])), stop,
      button(t('clear'), () => { [rows, drawn, missed] = [[], 0, 0]; draw(); })),
    h('p', { class: 'soft' }, t('logMeans')), state, list] };
}
