// One zone: records, settings, effective scope, change log.
import { ask, button, choice, dialog, field, h, loading, paged, say, table, text } from './dom.js';
import { all, api, canWrite, page } from './call.js';
import { t } from './words.js';
import { drop, scope } from './zones.js';

const TABS = { records, settings, scope: effective, changes };
const TYPES = ['A', 'AAAA', 'CNAME', 'TXT', 'MX', 'SRV', 'PTR'];

export function zone([id, tab], set) {
  const name = Object.hasOwn(TABS, tab || '') ? tab : 'records';
  const node = loading(async (again) => {
    const about = await api('DescribeZoneInfo', { ZoneId: id });
    const fixed = about.Creator === 'configuration-file';
    return [h('p', {}, h('a', { href: '#/zones' }, t('zones')), ' / ', h('b', {}, about.ZoneName), fixed && h('span', { class: 'soft' }, ` – ${t('fromFile')}`)),
      h('nav', { class: 'tabs', 'aria-label': about.ZoneName }, Object.keys(TABS).map((one) =>
        h('a', { href: `#/zone/${id}/${one}`, 'aria-current': one === name && 'page' }, t(`tab_${one}`)))),
      TABS[name](about, !fixed && canWrite(), again, set)];
  });
  return { title: t('zone'), nodes: node };
}

/** What the list of a zone shows is in the address. */
const remember = (about, tab, find) => (at) => {
  const shown = { ...(find() ? { find: find() } : {}), ...(at > 1 ? { page: at } : {}) };
  history.replaceState(null, '', `#/zone/${about.ZoneId}/${tab}${Object.keys(shown).length ? `?${new URLSearchParams(shown)}` : ''}`);
};

function records(about, writable, _, set) {
  const search = text({ type: 'search', value: set.get('find') || '' });
  const find = () => search.value.trim();
  const node = paged((at) => page('DescribeZoneRecords', { ZoneId: about.ZoneId, Keyword: find() }, (answer) => answer.Records.Record, at),
    (list, total, again) => table(t('recordsShown', total),
      [t('rr'), t('type'), t('line'), t('value'), t('ttl'), t('weight'), t('status'), t('remark'), ...(writable ? [t('actions')] : [])],
      list.map((one) => [h('code', {}, one.Rr), one.Type, one.Line === 'default' ? t('default') : one.Line,
        h('code', {}, one.Priority ? `${one.Priority} ${one.Value}` : one.Value), { number: one.Ttl }, { number: one.Weight },
        one.Status === 'ENABLE' ? t('enabled') : h('span', { class: 'warn' }, t('disabled')), one.Remark,
        ...(writable ? [h('div', { class: 'row' }, button(t('edit'), () => edit(about, again, one)),
          button(one.Status === 'ENABLE' ? t('disable') : t('enable'), async () => {
            await api('SetZoneRecordStatus', { RecordId: one.RecordId, Status: one.Status === 'ENABLE' ? 'DISABLE' : 'ENABLE' });
            again();
          }),
          button(t('remove'), () => ask(t('remove'), t('removeRecordAsk', `${one.Rr} ${one.Type} ${one.Value}`), async () => {
            await api('DeleteZoneRecord', { RecordId: one.RecordId });
            again();
          }), 'bad'))] : [])]), t('noRecords')), { start: set.get('page'), moved: remember(about, 'records', find) });
  return [h('form', { class: 'row', role: 'search', onsubmit: (event) => { event.preventDefault(); node.first(); } },
    field(t('searchRecord'), search), h('button', {}, t('search')), writable && button(t('addRecord'), () => edit(about, node.again), 'main')), node];
}

async function edit(about, again, former) {
  const [lines] = await all('DescribeCustomLines', {}, (answer) => answer.CustomLines.CustomLine);
  const type = choice(TYPES, former?.Type || 'A');
  const rr = text({ value: former?.Rr ?? '@', required: true });
  const line = choice([['default', t('default')], ...lines.map((one) => [one.LineId, one.Name])], former?.Line || 'default');
  const value = text({ value: former?.Value || '', required: true });
  const ttl = h('input', { type: 'number', min: 5, max: 86400, value: former?.Ttl ?? 60 });
  const priority = h('input', { type: 'number', min: 1, max: 99, value: former?.Priority ?? 10 });
  const weight = h('input', { type: 'number', min: 1, max: 100, value: former?.Weight ?? 1 });
  const remark = text({ value: former?.Remark || '', maxlength: 50 });
  const mx = field(t('priority'), priority);
  const fit = () => { mx.hidden = type.value !== 'MX'; };
  type.addEventListener('change', fit);
  fit();
  dialog(former ? t('editRecord') : t('addRecord'), [field(t('type'), type), field(t('rr'), rr, t('rrHint', about.ZoneName)), field(t('line'), line),
    field(t('value'), value), field(t('ttlValue'), ttl), mx, field(t('weight'), weight), field(t('remark'), remark)], async () => {
    const params = { Rr: rr.value.trim(), Type: type.value, Value: value.value.trim(), Ttl: ttl.value, Line: line.value, Weight: weight.value,
      Priority: type.value === 'MX' ? priority.value : '' };
    if (former) {
      await api('UpdateZoneRecord', { RecordId: former.RecordId, ...params });
      if (remark.value !== former.Remark) await api('UpdateRecordRemark', { RecordId: former.RecordId, Remark: remark.value });
    } else await api('AddZoneRecord', { ZoneId: about.ZoneId, Remark: remark.value, ...params });
    say(t('saved'));
    again();
  });
}

function settings(about, writable, again) {
  const proxy = choice([['ZONE', t('off')], ['RECORD', t('on')]], about.ProxyPattern, { disabled: !writable });
  const remark = text({ value: about.Remark || '', maxlength: 50, disabled: !writable });
  const facts = [['ZoneId', about.ZoneId], [t('kind'), about.DnsGroup], [t('recordCount'), about.RecordCount], [t('created'), about.CreateTime], [t('updated'), about.UpdateTime]];
  return [h('div', { class: 'card' }, field(t('proxy'), proxy, t('proxyMeans')), field(t('remark'), remark),
    writable && button(t('save'), async () => {
      try {
        if (proxy.value !== about.ProxyPattern) await api('SetProxyPattern', { ZoneId: about.ZoneId, ProxyPattern: proxy.value });
        if (remark.value !== (about.Remark || '')) await api('UpdateZoneRemark', { ZoneId: about.ZoneId, Remark: remark.value });
        say(t('saved'));
        again();
      } catch (error) { say(error.message); }
    }, 'main')),
  table(t('tab_settings'), [t('name'), t('value')], facts),
  writable && h('p', {}, button(t('removeZone'), () => drop(about, () => { location.hash = '#/zones'; }), 'bad'))];
}

function effective(about, writable, again) {
  const bound = about.BindVpcs.Vpc.map((vpc) => ({ id: vpc.VpcId, region: vpc.RegionId }));
  const { node, params } = scope(bound);
  if (!writable) for (const input of node.querySelectorAll('input')) input.disabled = true;
  return h('div', { class: 'card' }, h('p', {}, t('scopeMeans')), node, writable && button(t('save'), async () => {
    try { await api('BindZoneVpc', { ZoneId: about.ZoneId, ...params() }); say(t('saved')); again(); } catch (error) { say(error.message); }
  }, 'main'));
}

function changes(about, _, __, set) {
  return changeList({ ZoneId: about.ZoneId }, { start: set.get('page'), moved: remember(about, 'changes', () => '') });
}

/** The change log, by pages. */
export const changeList = (of, place) => paged((at) => page('DescribeChangeLogs', of, (answer) => answer.ChangeLogs.ChangeLog, at), changeTable, place);

const changeTable = (list, total) => table(t('changesShown', total), [t('time'), t('object'), t('action'), t('name'), t('content'), t('who'), t('from')],
  list.map((one) => [new Date(one.OperTimestamp).toLocaleString(), one.OperObject, one.OperAction, one.EntityName, one.Content, one.CreatorId, one.OperIp]));
