// Export, import with the changes shown before, and the change log of the account.
import { button, choice, copyable, field, h, loading, problem, put, say } from './dom.js';
import { all, api, canWrite } from './call.js';
import { t } from './words.js';
import { changeTable } from './zone.js';

const LONGEST = 200 * 1024;

export function transfer() {
  const exported = h('div');
  const input = h('textarea', { rows: 10, spellcheck: 'false' });
  const file = h('input', { type: 'file', accept: '.json,application/json', onchange: async () => { if (file.files[0]) { input.value = await file.files[0].text(); forget(); } } });
  const mode = choice([['MERGE', t('merge')], ['REPLACE', t('replace')]], 'MERGE', { onchange: () => forget() });
  const plan = h('div', { 'aria-live': 'polite' });
  const forget = () => put(plan); // what was shown is not what would be done any more
  input.addEventListener('input', forget);

  const call = (dry) => {
    if (new Blob([input.value]).size > LONGEST) throw new Error(t('tooLong'));
    JSON.parse(input.value);
    return api('PvtzdImport', { Document: input.value, Mode: mode.value, DryRun: dry });
  };
  const look = async () => {
    try {
      const told = await call(true);
      const apply = button(t('apply'), async () => {
        apply.disabled = true;
        try { await call(false); say(t('imported')); put(plan); log.again(); } catch (error) { put(plan, problem(error)); }
      }, 'main');
      put(plan, h('h3', {}, t('planned')), told.Changes.length ? h('pre', { tabindex: '0', 'aria-label': t('planned') }, told.Changes.map((one) =>
        h('div', { class: one.startsWith('+') ? 'plus' : one.startsWith('-') ? 'minus' : '' }, one))) : h('p', {}, t('noDifference')),
      told.ChangesOmitted > 0 && h('p', { class: 'soft' }, `+${told.ChangesOmitted}`), told.Changes.length > 0 && apply);
    } catch (error) { put(plan, problem(error)); }
  };
  const log = loading(async () => {
    const [list, total] = await all('DescribeChangeLogs', {}, (answer) => answer.ChangeLogs.ChangeLog, 200);
    return changeTable(list, total);
  });
  return { nodes: [
    h('section', { class: 'card', 'aria-label': t('export') }, h('h2', {}, t('export')), button(t('exportDo'), async () => {
      try {
        const { Document } = await api('PvtzdExport');
        const words = JSON.stringify(Document, null, 2);
        const url = URL.createObjectURL(new Blob([words], { type: 'application/json' }));
        put(exported, h('p', {}, h('a', { href: url, download: 'zones.json' }, t('download'))), words.length < LONGEST && copyable(words, t('export')));
      } catch (error) { put(exported, problem(error)); }
    }), exported),
    canWrite() && h('section', { class: 'card', 'aria-label': t('import') }, h('h2', {}, t('import')), h('p', { class: 'soft' }, t('importMeans')),
      field(t('file'), file), field(t('document'), input), field(t('mode'), mode), button(t('compare'), look, 'main'), plan),
    h('section', { 'aria-label': t('tab_changes') }, h('h2', {}, t('tab_changes')), log)] };
}
