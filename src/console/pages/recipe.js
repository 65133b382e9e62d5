// The recipe of the product's own document, in nine steps: an API name is led to its address inside a VPC.
import { button, choice, copyable, field, h, loading, problem, put, say, table, text, tick } from './dom.js';
import { api, canWrite, info, post, vpcParams } from './call.js';
import { t } from './words.js';

const STEPS = ['region', 'name', 'proxy', 'settings', 'record', 'more', 'bind', 'dns', 'call'];

/** What is done, and in what form it can be done elsewhere. */
const shell = (word) => /^[\w@./:=*-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
const commands = (action, params, own) => {
  const given = Object.entries(params).filter(([, value]) => value !== '');
  const called = [action, ...given.map(([name, value]) => `  ${name}=${value}`)].join('\n');
  const flags = given.map(([name, value]) => ` --${name} ${shell(String(value))}`).join('');
  return h('details', {}, h('summary', {}, t('asCommand')),
    h('p', { class: 'soft' }, t('apiCall')), copyable(called, t('apiCall')),
    h('p', { class: 'soft' }, 'pvtzd'), copyable(own, 'pvtzd'),
    h('p', { class: 'soft' }, 'aliyun'),
    copyable(`aliyun pvtz ${action}${flags} --endpoint ${info.api[0]} --insecure`, 'aliyun'));
};

export function recipe() {
  const first = info.vpcs.find((vpc) => vpc.region)?.region;
  const known = (id) => info.regions.find((region) => region.id === id);
  const state = { at: 0, region: known(first)?.id || 'cn-hangzhou', proxy: true, zoneId: '', vpcs: new Set() };
  const region = () => known(state.region);
  const zoneName = () => state.zone || region().names[0];
  const list = h('ol', { class: 'steps' });

  const done = (at, note) => { (state.notes ||= {})[at] = note; if (state.at === at) state.at = at + 1; draw(at + 1); };
  const act = (at, work) => async (event) => {
    const { target } = event;
    target.disabled = true;
    try { await work(); } catch (error) { target.before(problem(error)); }
    target.disabled = false;
  };
  const run = (label, at, work) => button(label, act(at, work), 'main');
  const ownAdd = () => `pvtzd zone add ${zoneName()}${state.proxy ? ' --proxy' : ''}`;

  /** The zone of a name: the one that is there, or a new one. */
  async function zoneOf(name, proxy) {
    const found = (await api('DescribeZones', { Keyword: name, SearchMode: 'EXACT' })).Zones.Zone
      .find((zone) => zone.Creator !== 'configuration-file');
    if (found) return { id: found.ZoneId, was: true };
    const made = await api('AddZone', { ZoneName: name, ProxyPattern: proxy ? 'RECORD' : 'ZONE' });
    return { id: made.ZoneId, was: false };
  }
  async function recordOf(zoneId, value) {
    const has = (await api('DescribeZoneRecords', { ZoneId: zoneId, Keyword: '@', SearchMode: 'EXACT', PageSize: 100 })).Records.Record;
    if (has.some((one) => one.Type === 'CNAME' && one.Value === value)) return;
    await api('AddZoneRecord', { ZoneId: zoneId, Rr: '@', Type: 'CNAME', Value: value, Ttl: 60 });
  }

  const bodies = {
    region: (at) => {
      const pick = choice(info.regions.map((one) => one.id), state.region, {
        onchange: () => { state.region = pick.value; state.zone = ''; state.zoneId = ''; state.at = 0; state.notes = {}; draw(0); },
      });
      return [field(t('aliRegion'), pick),
        table(t('regionTable'), [t('aliRegion'), t('cnameValue'), t('publicEndpoint')],
          [[h('code', {}, region().id), h('code', {}, region().target || '–'), region().names.map((name) => h('div', {}, h('code', {}, name)))]]),
        run(t('next'), at, () => done(at, state.region))];
    },
    name: (at) => {
      const input = text({ value: zoneName(), required: true });
      return [h('p', {}, t('recipeName')), field(t('zoneName'), input),
        run(t('next'), at, () => { state.zone = input.value.trim(); done(at, state.zone); })];
    },
    proxy: (at) => {
      const box = tick(t('proxy'), { checked: state.proxy, onchange: () => { state.proxy = box.input.checked; draw(at); } });
      const params = { ZoneName: zoneName(), ProxyPattern: state.proxy ? 'RECORD' : 'ZONE' };
      return [h('p', {}, t('recipeProxy')), box.node, commands('AddZone', params, ownAdd()),
        run(t('addZone'), at, async () => {
          const { id, was } = await zoneOf(zoneName(), state.proxy);
          state.zoneId = id;
          done(at, was ? t('zoneWasThere') : `ZoneId ${id}`);
        })];
    },
    settings: (at) => [h('p', {}, t('recipeSettings')),
      state.zoneId && loading(async () => {
        const records = (await api('DescribeZoneRecords', { ZoneId: state.zoneId, PageSize: 100 })).Records.Record;
        return table(t('records'), [t('rr'), t('type'), t('value'), t('ttl')],
          records.map((one) => [one.Rr, one.Type, one.Value, { number: one.Ttl }]), t('noRecords'));
      }),
      state.zoneId && h('p', {}, h('a', { href: `#/zone/${state.zoneId}/records` }, t('openSettings'))),
      commands('DescribeZoneRecords', { ZoneId: state.zoneId || 'ZONE' }, `pvtzd record list ${zoneName()}`),
      run(t('next'), at, () => done(at, ''))],
    record: (at) => {
      const value = text({ value: region().target || '', required: true });
      const ttl = choice([[60, t('minute')], [600, t('tenMinutes')]], 60);
      const params = { ZoneId: state.zoneId || 'ZONE', Rr: '@', Type: 'CNAME', Value: value.value, Ttl: 60 };
      return [h('p', {}, t('recipeRecord')),
        h('div', { class: 'row' }, field(t('type'), choice(['CNAME'], 'CNAME')), field(t('rr'), text({ value: '@', readonly: true }))),
        field(t('value'), value), field(t('ttlValue'), ttl),
        commands('AddZoneRecord', params, `pvtzd record add ${zoneName()} @ CNAME ${value.value} --ttl 60`),
        run(t('addRecord'), at, async () => {
          state.target = value.value.trim();
          await recordOf(state.zoneId, state.target);
          done(at, `@ CNAME ${state.target}`);
        })];
    },
    more: (at) => {
      const others = region().names.slice(1);
      const boxes = others.map((name) => ({ name, ...tick(name, { checked: true }) }));
      return [h('p', {}, others.length ? t('recipeMore') : t('recipeNoMore')), boxes.map((box) => box.node),
        others.length > 0 && commands('AddZone', { ZoneName: others[0], ProxyPattern: 'RECORD' },
          others.map((name) => `pvtzd zone add ${name} --proxy && pvtzd record add ${name} @ CNAME ${state.target || region().target}`).join('\n')),
        run(others.length ? t('addZones') : t('next'), at, async () => {
          state.more = [];
          for (const box of boxes.filter((one) => one.input.checked)) {
            const { id } = await zoneOf(box.name, true);
            await recordOf(id, state.target || region().target);
            state.more.push({ id, name: box.name });
          }
          done(at, state.more.map((zone) => zone.name).join(', '));
        })];
    },
    bind: (at) => {
      const boxes = info.vpcs.map((vpc) => ({ vpc, ...tick(`${vpc.id} (${vpc.region || '?'}; ${vpc.clients.join(', ')})`,
        { checked: state.vpcs.size ? state.vpcs.has(vpc.id) : vpc === info.vpcs[0] }) }));
      const chosen = () => boxes.filter((box) => box.input.checked).map((box) => box.vpc);
      return [h('p', {}, t('recipeBind')), h('fieldset', {}, h('legend', {}, 'VPC'), boxes.map((box) => box.node)),
        !boxes.length && h('p', { class: 'warn' }, t('noVpcs')),
        commands('BindZoneVpc', { ZoneId: state.zoneId || 'ZONE', ...vpcParams(chosen().slice(0, 1)) },
          `pvtzd zone bind ${zoneName()} ${chosen().map((vpc) => vpc.id).join(' ') || 'VPC'}`),
        run(t('bindVpc'), at, async () => {
          state.vpcs = new Set(chosen().map((vpc) => vpc.id));
          for (const zone of [{ id: state.zoneId }, ...(state.more || [])]) {
            const bound = (await api('DescribeZoneInfo', { ZoneId: zone.id })).BindVpcs.Vpc.map((vpc) => ({ id: vpc.VpcId, region: vpc.RegionId }));
            const wanted = [...bound.filter((vpc) => !state.vpcs.has(vpc.id)), ...chosen()];
            await api('BindZoneVpc', { ZoneId: zone.id, ...vpcParams(wanted) });
          }
          done(at, [...state.vpcs].join(', '));
        })];
    },
    dns: (at) => tested(at, (step) => ['chain', 'dns-tcp'].includes(step), t('testDns'),
      `dig @${host(info.dns[0])} ${zoneName()}`, h('p', {}, t('recipeDns'))),
    call: (at) => tested(at, () => true, t('testCall'),
      `aliyun ecs DescribeRegions --endpoint ${zoneName()}`, h('p', {}, t(info.lab ? 'recipeCallLab' : 'recipeCall'))),
  };
  const host = (address) => { const [, name, port] = /^(.*):(\d+)$/.exec(address) || [0, '127.0.0.1', 53]; return `${name} -p ${port}`; };

  function tested(at, wanted, label, command, words) {
    const found = h('div', { 'aria-live': 'polite' });
    return [words, h('details', {}, h('summary', {}, t('asCommand')), copyable(command, label)), found,
      run(label, at, async () => {
        const names = at === 8 ? [zoneName(), ...(state.more || []).map((zone) => zone.name)] : [zoneName()];
        put(found, h('p', { class: 'soft' }, t('loading')));
        const checks = [];
        for (const name of names) checks.push(...(await post('test', { name })).checks.filter((check) => wanted(check.step)));
        put(found, checks.map(shown));
        const well = checks.every((check) => ['pass', 'warn'].includes(check.outcome));
        if (well) { state.result = checks; done(at, t('allGreen')); say(at === 8 ? t('recipeDone') : t('allGreen')); }
      }), state.at > at && at === 8 && [h('p', { class: 'good', id: 'recipe-done' }, t('recipeDone')), (state.result || []).map(shown)]];
  }

  function draw(focus) {
    put(list, STEPS.map((name, at) => {
      const isNow = at === state.at;
      const mark = at < state.at ? 'done' : isNow ? 'now' : '';
      const title = h('h2', { tabindex: '-1' }, `${at + 1}. ${t(`step_${name}`)}`, at < state.at && h('span', { class: 'good' }, '✓ ', t('stepDone')));
      const note = state.notes?.[at];
      const node = h('li', { class: mark, 'aria-current': isNow && 'step', id: `step-${name}` }, title,
        note && h('p', { class: 'soft' }, note),
        isNow && (canWrite() || [0, 1, 7, 8].includes(at) ? bodies[name](at) : h('p', { class: 'warn' }, t('readOnly'))),
        at === 8 && state.at === 9 && bodies.call(at),
        at < state.at && at < 8 && button(t('again'), () => { state.at = at; draw(at); }));
      if (isNow && focus !== undefined) queueMicrotask(() => title.focus());
      return node;
    }));
  }
  draw();
  return { nodes: [h('p', {}, t('recipeIntro')), list] };
}

/** One finding of the doctor. */
export function shown(check) {
  const kind = { pass: 'good', warn: 'warn', fail: 'bad', skip: 'soft' }[check.outcome];
  return h('div', { class: 'finding' }, h('p', {}, h('b', { class: kind }, t(check.outcome, 'step')), ' ', h('code', {}, check.step), ' ', check.found),
    check.advice && h('p', { class: 'soft' }, '→ ', check.advice));
}
