// Zones: list, search, add.
import { button, dialog, field, h, paged, say, table, text, tick } from './dom.js';
import { api, canWrite, info, page, vpcParams } from './call.js';
import { t } from './words.js';

export function zones(_, settings) {
  const search = text({ value: settings.get('find') || '', type: 'search' });
  const moved = (at) => {
    const set = { ...(search.value.trim() ? { find: search.value.trim() } : {}), ...(at > 1 ? { page: at } : {}) };
    history.replaceState(null, '', `#/zones${Object.keys(set).length ? `?${new URLSearchParams(set)}` : ''}`);
  };
  const node = paged((at) => page('DescribeZones', { Keyword: search.value.trim() }, (answer) => answer.Zones.Zone, at),
    (list, total, again) => table(t('zonesShown', total), [t('zoneName'), t('proxy'), t('recordCount'), t('remark'), t('updated'), t('actions')],
      list.map((zone) => {
        const fixed = zone.Creator === 'configuration-file';
        return [h('a', { href: `#/zone/${zone.ZoneId}/records` }, zone.ZoneName), zone.ProxyPattern === 'RECORD' ? t('on') : t('off'),
          { number: zone.RecordCount }, fixed ? t('fromFile') : zone.Remark, zone.UpdateTime,
          h('div', { class: 'row' }, h('a', { href: `#/zone/${zone.ZoneId}/records` }, t('configure')),
            h('a', { href: `#/zone/${zone.ZoneId}/scope` }, t('bindVpc')),
            !fixed && canWrite() && button(t('remove'), () => drop(zone, again), 'bad'))];
      }), t('noZones')), { start: settings.get('page'), moved });
  return { nodes: [
    h('form', { class: 'row', role: 'search', onsubmit: (event) => {
      event.preventDefault();
      node.first();
    } }, field(t('searchZone'), search), h('button', {}, t('search')),
    canWrite() && button(t('addZone'), () => add(node.again), 'main')), node] };
}

function add(again) {
  const name = text({ required: true });
  const proxy = tick(t('proxy'), {});
  const remark = text({ maxlength: 50 });
  dialog(t('addZone'), [field(t('zoneName'), name), proxy.node, h('p', { class: 'soft' }, t('proxyMeans')), field(t('remark'), remark)], async () => {
    const made = await api('AddZone', { ZoneName: name.value.trim(), ProxyPattern: proxy.input.checked ? 'RECORD' : 'ZONE', Remark: remark.value });
    say(t('added', made.ZoneName));
    location.hash = `#/zone/${made.ZoneId}/records`;
    again();
  });
}

export function drop(zone, again) {
  dialog(t('removeZone'), [h('p', {}, t('removeZoneAsk', zone.ZoneName))], async () => {
    const bound = (await api('DescribeZoneInfo', { ZoneId: zone.ZoneId })).BindVpcs.Vpc;
    if (bound.length) await api('BindZoneVpc', { ZoneId: zone.ZoneId });
    await api('DeleteZone', { ZoneId: zone.ZoneId });
    say(t('removed', zone.ZoneName));
    again();
  }, t('remove'), 'bad');
}

/** Which VPCs see something: ticks, and what is sent. */
export function scope(bound) {
  const others = bound.filter((vpc) => !info.vpcs.some((known) => known.id === vpc.id));
  const boxes = [...info.vpcs, ...others].map((vpc) => ({ vpc,
    ...tick(`${vpc.id} (${vpc.region || '?'}${vpc.clients ? `; ${vpc.clients.join(', ')}` : ''})`, { checked: bound.some((one) => one.id === vpc.id) }) }));
  return { node: h('fieldset', {}, h('legend', {}, 'VPC'), boxes.length ? boxes.map((box) => box.node) : h('p', { class: 'warn' }, t('noVpcs'))),
    params: () => vpcParams(boxes.filter((box) => box.input.checked).map((box) => box.vpc)) };
}
