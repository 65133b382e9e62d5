// Export, import with the changes shown before, and the change log of the account.
import { button, choice, copyable, field, h, problem, put, say, text, tick } from './dom.js';
import { api, canWrite, info, post } from './call.js';
import { t } from './words.js';
import { changeList } from './zone.js';

const SHOWN = 200 * 1024; // octets of a document that are shown in the page

export function transfer() {
  const exported = h('div');
  const log = changeList({});
  return { nodes: [
    h('section', { class: 'card', 'aria-label': t('export') }, h('h2', {}, t('export')), button(t('exportDo'), async () => {
      try {
        const { Document } = await api('PvtzdExport');
        const words = JSON.stringify(Document, null, 2);
        const link = h('a', { download: 'zones.json' }, t('download'));
        link.href = URL.createObjectURL(new Blob([words], { type: 'application/json' }));
        put(exported, h('p', {}, link), words.length < SHOWN && copyable(words, t('export')));
      } catch (error) { put(exported, problem(error)); }
    }), exported),
    canWrite() && importer(() => log.again()),
    h('section', { 'aria-label': t('tab_changes') }, h('h2', {}, t('tab_changes')), log)] };
}

/** The text of a file. Octets of older zone files that are no UTF-8 become escapes, as for pvtzd import. */
function decoded(octets) {
  try { return new TextDecoder('utf-8', { fatal: true }).decode(octets); } catch {
    let text = '';
    for (const octet of new Uint8Array(octets)) text += String.fromCharCode(octet);
    return text.replace(/(\\*)([\x80-\xff])/g, (_, slashes, octet) =>
      `${slashes.length % 2 ? slashes.slice(1) : slashes}\\${octet.charCodeAt(0)}`);
  }
}

/** Files or a text, of any kind that pvtzd import takes. Nothing is done before its changes were shown. */
function importer(done) {
  const input = h('textarea', { rows: 10, spellcheck: 'false' });
  const file = h('input', { type: 'file', multiple: true });
  const format = choice([['', t('byItself')], ['document', t('ofPvtzd')], ['zone', t('zoneFile')], ['hosts', t('hostsFile')], ['describe', t('ofProduct')]], '');
  const zone = text({});
  const without = tick(t('withoutVpcs'), {});
  const mode = choice([['MERGE', t('merge')], ['REPLACE', t('replace')]], 'MERGE');
  const plan = h('div', { 'aria-live': 'polite' });
  let turn = 0;
  const forget = () => { turn++; put(plan); }; // what was shown is not what would be done any more

  async function files() {
    const list = await Promise.all([...file.files].map(async (one) => ({ name: one.name, text: decoded(await one.arrayBuffer()) })));
    if (input.value.trim()) list.push({ name: t('document'), text: input.value });
    if (!list.length) throw new Error(t('noFile'));
    return list;
  }
  async function ask(apply) {
    const asked = { files: await files(), format: format.value || null, zone: zone.value.trim(), without_vpcs: without.input.checked, mode: mode.value, apply };
    if (new Blob([JSON.stringify(asked)]).size > info.import_octets) throw new Error(t('tooLong', Math.round(info.import_octets / 2 ** 20)));
    return post('import', asked);
  }
  const look = button(t('compare'), async () => {
    forget();
    const mine = turn;
    look.disabled = true;
    put(plan, h('p', { class: 'soft' }, t('loading')));
    try {
      const told = await ask();
      if (mine === turn) put(plan, planned(told));
    } catch (error) { if (mine === turn) put(plan, problem(error)); }
    look.disabled = false;
  }, 'main');
  const sign = (line) => line.startsWith('+') ? 'plus' : line.startsWith('-') ? 'minus' : '';
  const counts = (told) => ['Added', 'Changed', 'Removed'].map((kind) =>
    [t(kind), ...['Zones', 'Records', 'Rules', 'CustomLines'].map((what) => ({ number: told[kind][what] }))]);
  function planned(told) {
    const apply = button(t('apply'), async () => {
      apply.disabled = true;
      try { await ask(told.Apply); say(t('imported')); forget(); } catch (error) { put(plan, problem(error)); }
      done();
    }, 'main');
    const some = told.Changes.length > 0 || told.ChangesOmitted > 0;
    return [told.Notes.length > 0 && h('ul', { class: 'warn' }, told.Notes.map((note) => h('li', {}, note))),
      h('h3', {}, t('planned')), some ? [
        table_of(counts(told)),
        h('pre', { tabindex: '0', 'aria-label': t('planned') }, told.Changes.map((one) => h('div', { class: sign(one) }, one))),
        told.ChangesOmitted > 0 && h('p', { class: 'soft' }, t('moreChanges', told.ChangesOmitted)), apply] : h('p', {}, t('noDifference'))];
  }
  const table_of = (rows) => h('table', {}, h('caption', {}, t('inNumbers')),
    h('thead', {}, h('tr', {}, h('td'), [t('zones_'), t('records'), t('rules'), t('lines')].map((one) => h('th', { scope: 'col', class: 'number' }, one)))),
    h('tbody', {}, rows.map(([name, ...cells]) => h('tr', {}, h('th', { scope: 'row' }, name), cells.map((cell) => h('td', { class: 'number' }, cell.number))))));
  return h('section', { class: 'card', 'aria-label': t('import'), oninput: forget, onchange: forget }, h('h2', {}, t('import')), h('p', { class: 'soft' }, t('importMeans')),
    field(t('file'), file), field(t('document'), input), h('div', { class: 'row' }, field(t('format'), format), field(t('ofZone'), zone, t('ofZoneHint')), field(t('mode'), mode)),
    without.node, look, plan);
}
