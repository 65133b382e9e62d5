// The whole path of a name: a drawing, and the same as text.
import { choice, copyable, field, h, loading, put, svg, table, text } from './dom.js';
import { info, post } from './call.js';
import { t } from './words.js';

const TYPES = ['A', 'AAAA', 'CNAME', 'TXT', 'MX', 'SRV', 'PTR', 'SOA', 'NS', 'HTTPS', 'ANY'];
const WIDTH = 640;

export function explain(_, settings) {
  const name = text({ value: settings.get('name') || '', required: true });
  const type = choice(TYPES.includes(settings.get('type') || 'A') ? TYPES : [...TYPES, settings.get('type')], settings.get('type') || 'A');
  const clients = info.vpcs.flatMap((vpc) => vpc.clients.map((net) => [net.split('/')[0].replace(/\.0$/, '.1'), `${vpc.id}: ${net}`]));
  const ids = 'clients';
  const client = text({ value: settings.get('client') || '127.0.0.1', list: ids });
  const result = h('div', { 'aria-live': 'polite' });
  const look = () => {
    if (!name.value.trim()) return;
    const query = { name: name.value.trim(), type: type.value, client: client.value.trim() || '127.0.0.1' };
    history.replaceState(null, '', `#/explain?${new URLSearchParams(query)}`);
    put(result, loading(async () => drawn(await post('explain', query), query)));
  };
  if (name.value) look();
  return { nodes: [
    h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); look(); } },
      field(t('name'), name), field(t('type'), type), field(t('client'), client),
      h('datalist', { id: ids }, clients.map(([value, label]) => h('option', { value }, label))),
      h('button', { class: 'main' }, t('explainDo'))), result] };
}

/** The boxes of a path, from the client to the final code: kind, and lines of text. */
export function boxes(told, query) {
  const list = [{ kind: 'end', lines: [`${query.name} ${query.type}`, `${t('client')} ${told.client}`] },
    { kind: 'view', lines: [t('view'), told.vpc ? `${told.vpc} (${told.region || '?'})` : t('noVpc')] }];
  for (const hop of told.hops) {
    const records = told.records.filter((record) => record.name === hop.name);
    const lines = [`${hop.name}${hop.unicode ? ` (${hop.unicode})` : ''}`, `${t(`source_${hop.source}`)}${hop.matched ? `: ${hop.matched}` : ''}`];
    lines.push(...records.slice(0, 4).map((record) => `${record.type} ${record.value} (TTL ${record.ttl})`));
    if (records.length > 4) lines.push(`+${records.length - 4}`);
    if (!records.length && hop.source !== 'refused') lines.push(hop.source === 'forward' ? t('fallsThrough') : t('nothingHere'));
    list.push({ kind: hop.source, lines });
  }
  if (told.cache) {
    const { state, ttl, result } = told.cache;
    list.push({ kind: 'cache', lines: [t('cache'), `${t(`cache_${state}`)}${state === 'fresh' ? `, TTL ${ttl}` : ''}`, ...(result ? [result] : [])] });
  }
  if (told.asks) list.push({ kind: 'forward', lines: [t('upstream'), told.asks.servers, `${told.asks.name} ${told.asks.type}`] });
  list.push({ kind: 'end', lines: [t('result'), told.asks ? t('codeOfUpstream') : told.result] });
  return list;
}

const cut = (line) => line.length > 78 ? `${line.slice(0, 77)}…` : line;

function drawn(told, query) {
  const list = boxes(told, query);
  const parts = [];
  let top = 8;
  list.forEach((box, at) => {
    const height = 14 + box.lines.length * 19;
    parts.push(svg('rect', { x: 8, y: top, width: WIDTH - 16, height, rx: 8, class: box.kind }));
    box.lines.forEach((line, number) => parts.push(svg('text', { x: 20, y: top + 22 + number * 19, class: number ? 'small' : 'name' }, cut(line))));
    top += height;
    if (at < list.length - 1) {
      parts.push(svg('line', { x1: WIDTH / 2, y1: top, x2: WIDTH / 2, y2: top + 16 }),
        svg('path', { d: `M${WIDTH / 2 - 6} ${top + 14}h12l-6 9z`, class: 'tip' }));
      top += 24;
    }
  });
  const words = list.map((box) => box.lines.join(' – ')).join(' → ');
  const picture = svg('svg', { class: 'path', viewBox: `0 0 ${WIDTH} ${top + 8}`, width: WIDTH, role: 'img', 'aria-label': words }, parts);
  const client = told.vpc ? `${told.client}, VPC ${told.vpc} (${told.region || '?'})` : `${told.client}, ${t('noVpc')}`;
  const lines = [`${t('client')} ${client}`, ...told.hops.map((hop, at) => `${at + 1}. ${hop.name} ${hop.type}\n   ${hop.why}`)];
  if (told.cache) lines.push(`${t('cache')}: ${t(`cache_${told.cache.state}`)}${told.cache.ttl ? `, TTL ${told.cache.ttl}` : ''}`);
  lines.push(told.asks ? `${t('result')}: ${told.asks.name} ${told.asks.type} → ${told.asks.servers}` : `${t('result')}: ${told.result}`);
  return h('div', { class: 'two' }, h('section', { class: 'card', 'aria-label': t('drawing') }, h('h2', {}, t('drawing')), picture),
    h('section', { class: 'card', 'aria-label': t('asText') }, h('h2', {}, t('asText')), copyable(lines.join('\n'), t('asText')),
      told.records.length > 0 && table(t('records'), [t('name'), t('ttl'), t('type'), t('value')],
        told.records.map((record) => [record.name, { number: record.ttl }, record.type, record.value])),
      told.cache?.records?.length > 0 && table(t('cache'), [t('name'), t('ttl'), t('type'), t('value')],
        told.cache.records.map((record) => [record.name, { number: record.ttl }, record.type, record.value])),
      h('p', { class: 'soft' }, `pvtzd explain ${query.name} ${query.type} --client ${query.client}`)));
}
