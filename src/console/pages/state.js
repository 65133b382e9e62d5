// What the server counts, what its cache has, and what the doctor finds.
import { ask, button, choice, field, h, inUse, loading, put, say, svg, table, text, tick } from './dom.js';
import { api, canWrite, post } from './call.js';
import { t } from './words.js';
import { shown } from './recipe.js';

const count = (number) => Number(number || 0).toLocaleString();
const figure = (label, value, note) => h('div', {}, h('span', { class: 'soft' }, label), h('b', {}, value), note && h('small', { class: 'soft' }, note));
const trend = (percent, before) => t('dayBefore', `${percent > 0 ? '+' : ''}${percent}`, before);

const DAY = 24 * 3600e3;

export function statistics(_, settings) {
  const hours = choice([['1', t('hour')], ['24', t('day')]], settings.get('hours') === '24' ? '24' : '1', { onchange: () => {
    history.replaceState(null, '', `#/statistics?hours=${hours.value}`);
    node.again();
  } });
  const node = loading(async () => {
    const now = Date.now();
    const span = (ago) => ({ StartTimestamp: now - ago - hours.value * 3600e3, EndTimestamp: now - ago });
    const period = { OverviewPeriod: hours.value === '24' ? '24h' : '1h', PvtzdCompare: 'DAY' };
    const [{ Data: all }, { Data: points }, { Data: former }, status, top, zones, vpcs] = await Promise.all([
      api('DescribePvtzStatisticsGlobalOverview', period), api('DescribePvtzStatisticsHistory', span(0)), api('DescribePvtzStatisticsHistory', span(DAY)),
      post('status'), post('top', { count: 10 }),
      api('DescribePvtzStatisticsSummary', { ...span(0), StatisticalType: 'ZONE' }), api('DescribePvtzStatisticsSummary', { ...span(0), StatisticalType: 'VPC' })]);
    const before = all.PvtzdDayBefore || {};
    // There is nothing to compare with where nothing was answered a day before.
    const compared = (field, shown, unit = '') => before.TotalResolveCount
      ? trend(all[`${field}Trend`], `${shown(before[field])}${unit}`) : t('noDayBefore');
    const hits = status.cache.hits + status.cache.misses;
    const ranking = (label, list, key) => table(label, [key, t('answers')], list.map((row) => [h('code', {}, row.key), { number: count(row.count) }]));
    const compare = (label, list, key) => table(label, [key, t('answers'), t('theDayBefore')], list.slice(0, 10).map((row) =>
      [h('code', {}, row.ZoneName || row.VpcId || t('noVpc')), { number: count(row.Count) }, { number: count(row.PreviousCount) }]));
    return [
      h('div', { class: 'figures' },
        figure(t('totalQueries'), count(all.TotalResolveCount), compared('TotalResolveCount', count)),
        figure(t('successRate'), `${all.AvgSuccessRatio} %`, compared('AvgSuccessRatio', String, ' %')),
        figure(t('latency'), `${all.AvgResolveLatency} ms`, compared('AvgResolveLatency', String, ' ms')),
        figure(t('hitRatio'), hits ? `${(100 * status.cache.hits / hits).toFixed(1)} %` : '–', t('sinceStart')),
        figure(t('fastAnswers'), status.queries.answered ? `${(100 * status.queries.fast / status.queries.answered).toFixed(1)} %` : '–', t('sinceStart')),
        figure(t('waiting'), count(status.queries.waiting), t('now'))),
      chart(points, former),
      fleet(status.fleet),
      table(t('upstreams'), [t('group'), t('server'), t('status'), 'RTT ms', t('queries'), t('failures')],
        status.upstreams.map((one) => [one.group, h('code', {}, one.server), h('span', { class: one.state === 'up' ? 'good' : 'bad' }, one.state),
          { number: one.rtt_ms?.toFixed(1) ?? '–' }, { number: count(one.queries) }, { number: count(one.failures) }])),
      h('div', { class: 'two' },
        compare(t('topZones'), zones.PageData, t('zoneName')), compare(t('topVpcs'), vpcs.PageData, 'VPC'),
        ranking(t('topNames'), top.names.rows, t('name')), ranking(t('topClients'), top.clients.rows, t('client')),
        ranking(t('topTypes'), top.types.rows, t('type')), ranking(t('topCodes'), Object.entries(status.queries.rcodes).map(([key, n]) => ({ key, count: n })).filter((row) => row.count), t('code')))];
  });
  const timer = setInterval(() => { if (!document.hidden && !inUse(node)) node.again(); }, 15000);
  return { end: () => clearInterval(timer), nodes: [h('div', { class: 'row' }, field(t('period'), hours), button(t('refresh'), () => node.again())),
    h('p', { class: 'soft' }, t('topLease')), node] };
}

/** How this node stands in its fleet, if it is in one. */
const fleet = (has) => has && table(t('fleet'), [t('node'), t('status'), t('revision'), t('behind'), t('rows'), t('badRows'), t('fault')],
  [[has.node, h('span', { class: has.state === 'following' ? 'good' : 'warn' }, has.state), { number: has.revision }, { number: has.behind.toFixed(1) },
    { number: count(has.rows) }, { number: has.bad_rows }, has.fault || has.snapshot_fault || '–']]);

/** Answers of private zones over time: all, those that failed, and all of the day before. */
function chart(points, former) {
  const [width, height] = [720, 200];
  const then = new Map(former.map((point) => [point.Timestamp + DAY, point.Count]));
  const before = (point) => then.get(point.Timestamp) ?? 0;
  const most = Math.max(1, ...points.map((point) => Math.max(point.Count, before(point))));
  const x = (at) => 50 + at * (width - 60) / Math.max(1, points.length - 1);
  const y = (value) => height - 25 - value * (height - 45) / most;
  const line = (pick) => points.map((point, at) => `${x(at).toFixed(1)},${y(pick(point)).toFixed(1)}`).join(' ');
  const label = (at) => new Date(points[at].Timestamp).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (!points.length) return h('p', { class: 'soft' }, t('nothing'));
  const lines = [['former', before, t('theDayBefore')], ['', (point) => point.Count, t('answers')], ['second', (point) => point.FailCount, t('failures')]];
  return h('section', { class: 'card' }, h('h2', {}, t('perTime')),
    svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': t('chartSays', count(most)) },
      svg('line', { class: 'axis', x1: 50, y1: y(0), x2: width - 10, y2: y(0) }), svg('line', { class: 'axis', x1: 50, y1: y(most), x2: width - 10, y2: y(most) }),
      svg('text', { x: 2, y: y(most) + 4 }, count(most)), svg('text', { x: 2, y: y(0) + 4 }, '0'),
      svg('text', { x: 50, y: height - 6 }, label(0)), svg('text', { x: width - 10, y: height - 6, 'text-anchor': 'end' }, label(points.length - 1)),
      lines.map(([kind, pick]) => svg('polyline', { class: `line ${kind}`, points: line(pick) }))),
    h('p', { class: 'legend' }, lines.slice().reverse().map(([kind, , name]) => h('span', {},
      svg('svg', { class: 'chart', viewBox: '0 0 30 10', 'aria-hidden': 'true' }, svg('polyline', { class: `line ${kind}`, points: '0,5 30,5' })), ' ', name))),
    h('details', {}, h('summary', {}, t('asTable')), table(t('perTime'), [t('time'), t('answers'), t('theDayBefore'), t('failures')],
      points.filter((point) => point.Count || before(point)).map((point) => [new Date(point.Timestamp).toLocaleString(),
        { number: count(point.Count) }, { number: count(before(point)) }, { number: count(point.FailCount) }]))));
}

export function cache(_, settings) {
  const name = text({ value: settings.get('name') || '', required: true });
  const below = tick(t('below'), { checked: settings.get('below') === '1' });
  const result = h('div', { 'aria-live': 'polite' });
  const sizes = loading(async () => {
    const { cache: has } = await post('status');
    return h('p', { class: 'soft' }, t('cacheHas', count(has.entries), count(has.finished), count(has.bytes)));
  });
  const look = () => {
    const query = { name: name.value.trim(), below: below.input.checked };
    if (!query.name) return;
    history.replaceState(null, '', `#/cache?${new URLSearchParams({ name: query.name, ...(query.below ? { below: '1' } : {}) })}`);
    put(result, loading(async () => {
      const found = await post('cache', query);
      return table(t('entriesShown', found.entries.length, found.all), [t('name'), t('type'), t('status'), t('ttl'), t('result'), t('records')],
        found.entries.map((one) => [h('code', {}, one.name), one.type, t(`cache_${one.state}`), { number: one.ttl }, one.result,
          one.records.map((record) => h('div', { class: 'mono' }, `${record.type} ${record.value}`))]), t('noEntries'));
    }));
  };
  const flush = (what, label) => ask(t('flush'), label, async () => {
    const told = await post('flush', what);
    say(t('flushed', told.entries, told.finished));
    sizes.again();
    look();
  });
  if (name.value) look();
  return { nodes: [sizes, h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); look(); } }, field(t('name'), name), below.node,
    h('button', { class: 'main' }, t('search')),
    canWrite() && [button(t('flush'), () => name.value.trim() && flush({ what: 'name', name: name.value.trim(), subtree: below.input.checked }, t('flushAsk', name.value.trim())), 'bad'),
      button(t('flushAll'), () => flush({ what: 'all' }, t('flushAllAsk')), 'bad')]), result] };
}

export function doctor() {
  const result = h('div', { 'aria-live': 'polite' });
  const run = button(t('doctorRun'), () => put(result, loading(async () => {
    run.disabled = true;
    try {
      const { checks } = await post('doctor');
      const of = (outcome) => checks.filter((check) => check.outcome === outcome).length;
      return h('div', { class: 'card' }, checks.map(shown), h('p', {}, t('doctorSum', of('pass'), of('warn'), of('fail'), of('skip'))));
    } finally { run.disabled = false; }
  })), 'main');
  return { nodes: [h('p', {}, t('doctorMeans')), run, result] };
}
