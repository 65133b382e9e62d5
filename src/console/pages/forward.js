// Forwarding rules, outbound endpoints and custom lines.
import { ask, button, dialog, field, h, loading, say, table, text } from './dom.js';
import { all, api, canWrite, info } from './call.js';
import { t } from './words.js';
import { scope } from './zones.js';

const lines = (value) => value.split(/[\s,;]+/).filter(Boolean);
const vpcOf = (id) => info.vpcs.find((vpc) => vpc.id === id);

export function forward() {
  const node = loading(async (again) => {
    const [[rules], [endpoints], [customs]] = await Promise.all([
      all('DescribeResolverRules', {}, (answer) => answer.Rules), all('DescribeResolverEndpoints', {}, (answer) => answer.Endpoints),
      all('DescribeCustomLines', {}, (answer) => answer.CustomLines.CustomLine)]);
    const write = canWrite();
    const drop = (label, action, params) => button(t('remove'), () => ask(t('remove'), label, async () => { await api(action, params); again(); }), 'bad');
    return [
      h('section', { 'aria-label': t('rules') }, h('h2', {}, t('rules')), write && button(t('addRule'), () => rule(again)),
        table(t('rules'), [t('name'), t('zoneName'), t('servers'), 'VPC', ...(write ? [t('actions')] : [])], rules.map((one) => {
          const bound = one.BindVpcs.map((vpc) => ({ id: vpc.VpcId, region: vpc.RegionId }));
          return [one.Name, h('code', {}, one.ZoneName), one.ForwardIps.map((to) => h('div', { class: 'mono' }, `${to.Ip}:${to.Port}`)), bound.map((vpc) => vpc.id).join(', '),
            ...(write ? [h('div', { class: 'row' }, button(t('edit'), () => rule(again, one)), button(t('bindVpc'), () => bind(again, one.Id ?? one.RuleId, bound)),
              drop(one.Name, 'DeleteResolverRule', { RuleId: one.Id ?? one.RuleId }))] : [])];
        }), t('noRules'))),
      h('section', { 'aria-label': t('endpoints') }, h('h2', {}, t('endpoints')), h('p', { class: 'soft' }, t('endpointsMean')), write && button(t('addEndpoint'), () => endpoint(again)),
        table(t('endpoints'), [t('name'), 'VPC', t('securityGroup'), t('sourceIps'), t('status'), ...(write ? [t('actions')] : [])], endpoints.map((one) =>
          [one.Name, `${one.VpcId} (${one.VpcRegionId})`, one.SecurityGroupId, (one.IpConfigs || []).map((ip) => h('div', { class: 'mono' }, `${ip.AzId} ${ip.CidrBlock} ${ip.Ip}`)), one.Status,
            ...(write ? [drop(one.Name, 'DeleteResolverEndpoint', { EndpointId: one.Id ?? one.EndpointId })] : [])]), t('noEndpoints'))),
      h('section', { 'aria-label': t('lines') }, h('h2', {}, t('lines')), write && button(t('addLine'), () => line(again)),
        table(t('lines'), [t('name'), t('ranges'), ...(write ? [t('actions')] : [])], customs.map((one) =>
          [one.Name, one.Ipv4s.Ipv4.map((range) => h('div', { class: 'mono' }, range)),
            ...(write ? [h('div', { class: 'row' }, button(t('edit'), () => line(again, one)), drop(one.Name, 'DeleteCustomLine', { LineId: one.LineId }))] : [])]), t('noLines')))];
  });
  return { nodes: node };
}

function rule(again, former) {
  const name = text({ value: former?.Name || '' });
  const zone = text({ value: former?.ZoneName || '', required: true, readonly: Boolean(former) });
  const servers = h('textarea', { rows: 3 }, former ? former.ForwardIps.map((to) => `${to.Ip}:${to.Port}`).join('\n') : '');
  const vpcs = former ? null : scope([]);
  dialog(former ? t('editRule') : t('addRule'), [field(t('name'), name), field(t('zoneName'), zone), field(t('servers'), servers, t('serversHint')), vpcs?.node], async () => {
    const targets = Object.fromEntries(lines(servers.value).flatMap((one, at) => {
      const [, ip, port] = /^\[?([0-9a-fA-F.:]+?)\]?(?::(\d+))?$/.exec(one) || [null, one, ''];
      return [[`ForwardIp.${at + 1}.Ip`, ip], [`ForwardIp.${at + 1}.Port`, port || 53]];
    }));
    if (former) await api('UpdateResolverRule', { RuleId: former.Id ?? former.RuleId, Name: name.value, ...targets });
    else await api('AddResolverRule', { Name: name.value, ZoneName: zone.value.trim(), Type: 'OUTBOUND', ...targets, ...vpcs.params() });
    say(t('saved'));
    again();
  });
}

function bind(again, id, bound) {
  const vpcs = scope(bound);
  dialog(t('bindVpc'), vpcs.node, async () => {
    const params = Object.fromEntries(Object.entries(vpcs.params()).map(([key, value]) => [key.replace('Vpcs.', 'Vpc.'), value]));
    await api('BindResolverRuleVpc', { RuleId: id, ...params });
    say(t('saved'));
    again();
  });
}

function endpoint(again) {
  const name = text({ required: true, maxlength: 20 });
  const vpc = text({ value: info.vpcs[0]?.id || '', required: true });
  const region = text({ value: info.vpcs[0]?.region || 'cn-hangzhou', required: true });
  const group = text({ value: 'sg-1', required: true });
  const rows = h('textarea', { rows: 3 });
  vpc.addEventListener('change', () => { region.value = vpcOf(vpc.value)?.region || region.value; });
  dialog(t('addEndpoint'), [field(t('name'), name), field(t('outboundVpc'), vpc), field(t('aliRegion'), region), field(t('securityGroup'), group),
    field(t('sourceIps'), rows, t('sourceIpsHint'))], async () => {
    const ips = Object.fromEntries(rows.value.split('\n').map((row) => row.trim().split(/\s+/)).filter((row) => row[0]).flatMap(([az, cidr, ip], at) =>
      [[`IpConfig.${at + 1}.AzId`, az], [`IpConfig.${at + 1}.CidrBlock`, cidr], [`IpConfig.${at + 1}.Ip`, ip]]));
    await api('AddResolverEndpoint', { Name: name.value, VpcId: vpc.value, VpcRegionId: region.value, SecurityGroupId: group.value, ...ips });
    say(t('saved'));
    again();
  });
}

function line(again, former) {
  const name = text({ value: former?.Name || '', required: true, maxlength: 64 });
  const ranges = h('textarea', { rows: 4 }, former ? former.Ipv4s.Ipv4.join('\n') : '');
  dialog(former ? t('editLine') : t('addLine'), [field(t('name'), name), field(t('ranges'), ranges, t('rangesHint'))], async () => {
    const list = Object.fromEntries(lines(ranges.value).map((one, at) => [`Ipv4s.${at + 1}`, one]));
    await api(former ? 'UpdateCustomLine' : 'AddCustomLine', { LineId: former?.LineId, Name: name.value, DnsCategory: 'AUTH', ...list });
    say(t('saved'));
    again();
  });
}
