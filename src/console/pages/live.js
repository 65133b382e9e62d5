// Answers as they are given: filters in the address, at most 500 rows, and how many answers there were beside them.
// The table is drawn once a second, and not while the keyboard is in it: else the focus would be lost.
import { button, choice, field, h, put, table, text, told } from './dom.js';
import { post } from './call.js';
import { t } from './words.js';

const ROWS = 500;
const FIELDS = ['name', 'type', 'code', 'client', 'path'];
const PATHS = ['', 'AUTH', 'CACHE', 'FORWARD', 'GLOBAL'];

export function live(_, settings) {
  const inputs = Object.fromEntries(FIELDS.map((one) => [one, one === 'path'
    ? choice(PATHS.map((path) => [path, path || t('every')]), settings.get(one) || '')
    : text({ value: settings.get(one) || '' })]));
  const list = h('div');
  const state = h('p', { class: 'soft' });
  const stop = button(t(settings.get('paused') === '1' ? 'goOn' : 'pause'), () => { paused = !paused; put(stop, t(paused ? 'goOn' : 'pause')); address(); });
  let rows = [], last = 0, seen = 0, got = 0, ended = false, paused = settings.get('paused') === '1', drawn = 0, timer = 0;

  const wanted = (row) => {
    const has = (value, word) => !word || value.toLowerCase().includes(word.toLowerCase());
    const { name, type, code, client, path } = Object.fromEntries(FIELDS.map((one) => [one, inputs[one].value.trim()]));
    return has(row.query_name, name) && (!type || row.query_type.toLowerCase() === type.toLowerCase()) && has(row.rcode, code)
      && has(row.src_addr, client) && has(row.module_type, path);
  };
  const address = () => {
    const set = FIELDS.map((one) => [one, inputs[one].value.trim()]).filter(([, value]) => value);
    if (paused) set.push(['paused', '1']);
    history.replaceState(null, '', `#/log${set.length ? `?${new URLSearchParams(set)}` : ''}`);
    draw();
  };
  function draw() {
    const shown = rows.filter(wanted);
    const held = list.contains(document.activeElement);
    put(state, t('logState', shown.length, rows.length, got, Math.max(0, seen - got)),
      paused ? h('b', { class: 'warn' }, ` ${t('paused')}`) : held && h('b', { class: 'warn' }, ` ${t('heldByFocus')}`));
    if (drawn && held) return;
    drawn = 1;
    put(list, table(t('log'), [t('time'), t('client'), 'VPC', t('name'), t('type'), t('code'), t('answer'), t('pathOf'), 'ms'],
      shown.slice().reverse().map((row) => [row.time.slice(11, 23), row.src_addr, row.vpc_id,
        h('a', { href: `#/explain?${new URLSearchParams({ name: row.query_name, type: row.query_type, client: row.src_addr })}` }, row.query_name),
        row.query_type, h('span', { class: ['NOERROR', 'NXDOMAIN'].includes(row.rcode) ? '' : 'bad' }, row.rcode),
        h('span', { class: 'mono' }, short(row.answer_rrset)), row.module_type, { number: row.rt }]), t('logEmpty')));
  }
  const short = (answer) => answer.length > 160 ? `${answer.slice(0, 159)}…` : answer;

  async function read() {
    while (!ended) {
      try {
        const page = await post('log', { after: last });
        if (ended) return;
        if (page.seen < seen) got = 0;
        ({ last, seen } = page);
        got += page.rows.length;
        if (!paused) rows = [...rows, ...page.rows].slice(-ROWS);
        if (!drawn) draw();
        else if (page.rows.length) timer ||= setTimeout(() => { timer = 0; if (!ended) draw(); }, 1000);
        if (!last || !page.rows.length) await new Promise((ready) => setTimeout(ready, 400));
      } catch (error) {
        if (error.code === 'NoSession') return;
        put(state, h('span', { class: 'bad' }, told(error)));
        await new Promise((ready) => setTimeout(ready, 3000));
      }
    }
  }
  read();
  return { end: () => { ended = true; }, nodes: [
    h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); address(); }, oninput: address },
      FIELDS.map((one) => field(t(one === 'path' ? 'pathOf' : one), inputs[one])), stop,
      button(t('clear'), () => { rows = []; drawn = 0; draw(); })), state, list] };
}
