// The words of the pages, with the product's own labels in both languages. Each has an English and a Chinese text.
const WORDS = {
  title: ['pvtzd console', 'pvtzd 控制台'],
  pages: ['Pages', '页面'], skip: ['Skip to content', '跳到正文'], language: ['Language', '语言'], scheme: ['Colour scheme', '配色'],
  system: ['System', '跟随系统'], light: ['Light', '浅色'], dark: ['Dark', '深色'], signIn: ['Sign in', '登录'], signOut: ['Sign out', '退出'],
  signInHow: ['There is no session. This command prints an address with a code that counts once, for five minutes:', '当前没有会话。以下命令输出一个带一次性代码的地址，五分钟内有效：'],
  signInLab: ['For a lab, give it the address of the API and the access key that the lab printed: pvtzd console --endpoint 127.0.0.1:5380.', '对于 lab，请设置 lab 输出的 AccessKey，并指定 API 地址：pvtzd console --endpoint 127.0.0.1:5380。'],
  readOnly: ['Read-only: nothing can be changed here.', '只读：此处不能修改。'],
  recipe: ['Recipe', '操作步骤'], zones: ['Private Zone', '内网DNS解析'], zone: ['Settings', '解析设置'], forward: ['Forward Zone', '转发管理'],
  explain: ['Explain', '解析路径'], log: ['Live log', '实时日志'], statistics: ['Statistics', '统计'], cache: ['Cache', '缓存管理'],
  doctor: ['Doctor', '诊断'], transfer: ['Import and export', '导入导出'],
  ok: ['OK', '确定'], cancel: ['Cancel', '取消'], save: ['Save', '保存'], saved: ['Saved.', '已保存。'], edit: ['Edit', '修改'], remove: ['Delete', '删除'],
  enable: ['Enable', '启用'], disable: ['Disable', '暂停'], enabled: ['Enabled', '正常'], disabled: ['Disabled', '已暂停'], on: ['On', '开启'], off: ['Off', '关闭'],
  copy: ['Copy', '复制'], copied: ['Copied.', '已复制。'], loading: ['Loading …', '加载中…'], nothing: ['Nothing.', '无。'], next: ['Next', '下一步'],
  again: ['Again', '重做'], search: ['Search', '搜索'], refresh: ['Refresh', '刷新'], clear: ['Clear', '清空'], every: ['all', '全部'], now: ['now', '当前'],
  name: ['Name', '名称'], type: ['Record Type', '记录类型'], value: ['Record Value', '记录值'], ttl: ['TTL', 'TTL'], ttlValue: ['TTL Value (seconds)', 'TTL值（秒）'],
  rr: ['Hostname', '主机记录'], rrHint: (zone) => [`@ is ${zone} itself; * is every name below`, `@ 表示 ${zone} 本身；* 表示其下所有名称`],
  line: ['Query Source', '解析请求来源'], weight: ['Weight', '权重'], priority: ['MX priority', 'MX优先级'], remark: ['Remark', '备注'], status: ['Status', '状态'],
  actions: ['Actions', '操作'], default: ['default', '默认'], client: ['Client', '客户端'], code: ['Code', '响应码'], answer: ['Answer', '应答'], answers: ['Answers', '应答数'],
  time: ['Time', '时间'], object: ['Object', '对象'], action: ['Action', '操作'], content: ['Content', '内容'], who: ['Operator', '操作者'], from: ['From', '来源IP'],
  created: ['Created', '创建时间'], updated: ['Updated', '更新时间'], kind: ['Kind', '类型'], server: ['Server', '服务器'], servers: ['Servers', '服务器'],
  group: ['Group', '组'], queries: ['Queries', '查询数'], failures: ['Failures', '失败数'], result: ['Result', '结果'], records: ['Records', '解析记录'], view: ['View', '视图'],
  pass: ['pass', '通过'], warn: ['note', '注意'], fail: ['FAIL', '失败'], skip_: ['skipped', '跳过'],
  pageOf: (at, last) => [`page ${at} of ${last}`, `第 ${at} / ${last} 页`], firstPage: ['First', '首页'], previousPage: ['Previous', '上一页'], nextPage: ['Next page', '下一页'], lastPage: ['Last', '末页'],
  // Recipe
  recipeIntro: ['Lead an API name such as ecs.cn-hangzhou.aliyuncs.com to its address inside a VPC, for instances without a public network. Each step shows the API call and the command that do the same.',
    '将 API 域名（例如 ecs.cn-hangzhou.aliyuncs.com）解析到 VPC 内的地址，供没有公网的实例使用。每一步都给出等效的 API 调用和命令。'],
  step_region: ['Choose the region', '选择地域'], step_name: ['Add Zone: Zone Name', '添加Zone：Zone名称'], step_proxy: ['Subdomain recursive resolution proxy', '子域名递归解析代理'],
  step_settings: ['Configure: Resolution Settings', '解析设置'], step_record: ['Add Record', '添加记录'], step_more: ['Further names that current clients ask', '新版客户端查询的其他域名'],
  step_bind: ['Bind VPC', '关联VPC'], step_dns: ['Test the answer', '测试解析'], step_call: ['Call the API: TCP, TLS, DescribeRegions', '调用API：TCP、TLS、DescribeRegions'],
  stepDone: ['done', '完成'], asCommand: ['The same as API call and command', '等效的 API 调用和命令'], apiCall: ['API call', 'API 调用'],
  aliRegion: ['Region ID', '地域ID'], regionTable: ['Region', '阿里云地域'], cnameValue: ['CNAME record value', 'CNAME记录值'], publicEndpoint: ['Public endpoint', '公网接入地址（Endpoint）'],
  recipeName: ['The zone has the name of the API itself.', 'Zone 的名称就是 API 域名本身。'],
  recipeProxy: ['With the proxy, names below the zone that have no record here are answered as before.', '开启后，Zone 中没有记录的子域名仍按原来的结果解析。'],
  zoneWasThere: ['The zone was there already.', 'Zone 已存在。'],
  recipeSettings: ['The zone is there; records come first, the effective scope second.', 'Zone 已添加；先添加记录，再设置生效范围。'], openSettings: ['Open the page of the zone', '打开该 Zone 的页面'],
  recipeRecord: ['The host record @ is the zone\'s own name. It leads to the gateway of the APIs inside the VPC.', '主机记录 @ 表示 Zone 名称本身，指向 VPC 内的 API 网关。'],
  minute: ['1 minute', '1 分钟'], tenMinutes: ['10 minutes', '10 分钟'],
  recipeMore: ['Clients also ask these names; each is a zone of its own with the same record.', '客户端还会查询以下域名；每个域名各需一个 Zone 和相同的记录。'],
  recipeNoMore: ['There are none in this region.', '该地域没有其他域名。'], addZones: ['Add these zones', '添加这些 Zone'],
  recipeBind: ['From now on clients of these VPCs see the zone.', '此后，这些 VPC 的客户端使用该 Zone 解析。'],
  noVpcs: ['No VPC is configured: add [[vpc]] with the networks of its clients.', '没有配置 VPC：请添加 [[vpc]] 及其客户端网段。'],
  recipeDns: ['pvtzd asks itself, over UDP and TCP, as a client of this machine.', 'pvtzd 以本机客户端的身份，通过 UDP 和 TCP 向自身查询。'],
  recipeCall: ['pvtzd connects to where the name leads, checks the certificate, and calls DescribeRegions without an access key: that the API refuses the call shows that it answers.', 'pvtzd 连接该域名指向的地址，检查证书，并在没有 AccessKey 的情况下调用 DescribeRegions：API 拒绝该调用即说明可以访问。'],
  recipeCallLab: ['pvtzd connects to where the name leads, checks the certificate, and calls DescribeRegions, signed with the key of the lab.', 'pvtzd 连接该域名指向的地址，检查证书，并用 lab 的 AccessKey 签名调用 DescribeRegions。'],
  testDns: ['Test the answer', '测试解析'], testCall: ['Call the API', '调用API'], allGreen: ['All as it should be.', '全部正常。'],
  recipeDone: ['Done: the API is reached through its name inside the VPC.', '完成：已可在 VPC 内通过该域名访问 API。'],
  // Zones
  zoneName: ['Zone Name', 'Zone名称'], proxy: ['Subdomain recursive resolution proxy', '子域名递归解析代理'], proxyMeans: ['On: names without a record here are asked of others.', '开启：Zone 中没有的子域名继续递归解析。'],
  addZone: ['Add Zone', '添加Zone'], searchZone: ['Search zones', '搜索Zone'], zonesShown: (all) => [`Zones: ${all}`, `Zone：${all}`], noZones: ['No zones.', '没有 Zone。'],
  recordCount: ['Records', '记录数'], fromFile: ['configuration file', '配置文件'], configure: ['Configure', '解析设置'], bindVpc: ['Bind VPC', '关联VPC'],
  added: (what) => [`${what} added.`, `已添加 ${what}。`], removed: (what) => [`${what} deleted.`, `已删除 ${what}。`], removeZone: ['Delete the zone', '删除Zone'],
  removeZoneAsk: (name) => [`Delete ${name} with all its records? Its VPCs are unbound first.`, `删除 ${name} 及其所有记录？将先解除关联的 VPC。`],
  tab_records: ['Resolution Settings', '解析设置'], tab_settings: ['Zone Settings', '域名设置'], tab_scope: ['Effective Scope', '生效范围设置'], tab_changes: ['Operation Logs', '操作日志'],
  addRecord: ['Add Record', '添加记录'], editRecord: ['Modify Record', '修改记录'], searchRecord: ['Search by hostname', '按主机记录搜索'], noRecords: ['No records.', '没有记录。'],
  recordsShown: (all) => [`Records: ${all}`, `记录：${all}`], removeRecordAsk: (what) => [`Delete ${what}?`, `删除 ${what}？`],
  scopeMeans: ['Clients of these VPCs see the zone.', '以下 VPC 的客户端使用该 Zone 解析。'], changesShown: (all) => [`Changes: ${all}`, `变更：${all}`],
  // Explain
  explainDo: ['Explain', '查看路径'], drawing: ['Drawing', '图示'], asText: ['As text', '文字'], noVpc: ['in no VPC', '不属于任何 VPC'], fallsThrough: ['no record here: falls through', '无记录：继续转发'],
  nothingHere: ['nothing of this type here', '没有该类型的记录'], upstream: ['Upstream', '上游'], codeOfUpstream: ['the code is the upstream\'s', '响应码由上游决定'],
  source_zone: ['private zone', '内网 Zone'], source_hosts: ['hosts file', 'hosts 文件'], source_local: ['special-use name', '特殊用途域名'], source_minimal: ['minimal answer to ANY', '对 ANY 的最小应答'],
  source_forward: ['forwarded', '转发'], source_loop: ['loop', '循环'], source_refused: ['refused', '拒绝'],
  cache_fresh: ['in the cache', '已缓存'], cache_stale: ['in the cache, expired', '已缓存，已过期'], cache_expired: ['expired', '已过期'], cache_absent: ['not in the cache', '未缓存'],
  // Live log
  pause: ['Pause', '暂停'], goOn: ['Go on', '继续'], paused: (missed) => [`paused; ${missed} rows not shown since`, `已暂停；此后 ${missed} 行未显示`], pathOf: ['Path', '路径'], logEmpty: ['No answers yet.', '暂无应答。'],
  logState: (shown, matched, dropped, seen) => [`${shown} rows shown of ${matched} answers that match; ${dropped} not shown. Answers in all: ${seen}`, `显示 ${shown} 行，匹配 ${matched} 条应答，未显示 ${dropped} 条；应答总数 ${seen}`],
  logMeans: ['The server applies the filters and sends at most 200 rows a second; the page keeps 500. Under load it samples answers of its packet cache, and the numbers are estimates. Any part of a name will do; .example.com. is that name and those below it.', '过滤由服务器执行，每秒最多发送 200 行；页面保留 500 行。负载高时对报文缓存的应答采样，数量为估计值。名称可以是域名的任意部分；.example.com. 表示该名称及其子域名。'],
  heldByFocus: ['held while the keyboard or a selection is in the table', '键盘焦点或选中的文字在表格中时不更新'],
  // Statistics
  period: ['Period', '时间范围'], hour: ['last hour', '最近 1 小时'], day: ['last 24 hours', '最近 24 小时'], totalQueries: ['Total Queries', '解析总量'], successRate: ['Average success rate', '平均解析成功率'],
  latency: ['Average latency', '平均解析延迟'], hitRatio: ['Cache hit ratio', '缓存命中率'], fastAnswers: ['Answers of the fast path', '快速路径应答'], waiting: ['Waiting for an upstream', '等待上游'],
  sinceStart: ['since the start', '自启动以来'], dayBefore: (percent, before) => [`${percent} % against the day before: ${before}`, `较前一日 ${percent} %：${before}`],
  theDayBefore: ['Day before', '前一日'], noDayBefore: ['the day before: no answers', '前一日：无应答'],
  upstreams: ['Upstreams', '上游服务器'], topZones: ['Busiest zones', '域名排行'], topVpcs: ['Busiest VPCs', '网络排行'], topNames: ['Busiest names', '子域名排行'], topClients: ['Busiest clients', '客户端IP排行'],
  topTypes: ['Record types', '记录类型排行'], topCodes: ['Response codes', '响应码'], topLease: ['The lists of names, clients and types count while this page is open.', '子域名、客户端和类型排行仅在打开本页面时统计。'],
  perTime: ['Answers of private zones', '内网权威应答'], chartSays: (most) => [`Answers over time, at most ${most} at a point`, `应答随时间变化，单点最多 ${most}`], asTable: ['As a table', '表格'],
  fleet: ['Fleet', '集群'], node: ['Node', '节点'], revision: ['Revision', '修订号'], behind: ['Behind (seconds)', '滞后（秒）'], rows: ['Rows', '行数'], fault: ['Fault', '故障'], badRows: ['Rows with a fault', '有故障的行'],
  // Cache
  below: ['names below too', '包括子域名'], cacheHas: (entries, finished, bytes) => [`${entries} entries, ${finished} finished answers, ${bytes} octets`, `${entries} 个条目，${finished} 个完整应答，${bytes} 字节`],
  entriesShown: (shown, all) => [`Entries: ${shown} of ${all}`, `条目：${shown} / ${all}`], noEntries: ['No entry of this name.', '没有该名称的条目。'], flush: ['Flush', '清除缓存'], flushAll: ['Flush all', '清除全部'],
  flushAsk: (name) => [`Forget the cached answers of ${name}?`, `清除 ${name} 的缓存？`], flushAllAsk: ['Forget all cached answers?', '清除全部缓存？'],
  flushed: (entries, finished) => [`${entries} entries forgotten, and ${finished} finished answers.`, `已清除 ${entries} 个条目和 ${finished} 个完整应答。`],
  // Doctor
  doctorRun: ['Examine', '开始诊断'], doctorMeans: ['The same steps as pvtzd doctor; it takes up to ten seconds and changes nothing.', '与 pvtzd doctor 的步骤相同；最多约十秒，不做任何修改。'],
  doctorSum: (pass, warn, fail, skip) => [`${pass} passed, ${warn} to think about, ${fail} failed, ${skip} not looked at`, `${pass} 项通过，${warn} 项注意，${fail} 项失败，${skip} 项跳过`],
  // Forwarding
  rules: ['Forward Rule', '转发规则'], addRule: ['Add Forward Rule', '添加转发规则'], editRule: ['Modify Forward Rule', '修改转发规则'], noRules: ['No rules.', '没有规则。'],
  serversHint: ['address:port, one a line, at most six', '地址:端口，每行一个，最多六个'], endpoints: ['Outbound Endpoint', '出站终端节点'], addEndpoint: ['Add Outbound Endpoint', '添加出站终端节点'],
  noEndpoints: ['No endpoints.', '没有终端节点。'], endpointsMean: ['Kept as told; queries leave by the addresses of this machine.', '仅保存；查询从本机地址发出。'], outboundVpc: ['Outbound VPC', '出站VPC'],
  securityGroup: ['Security group', '安全组'], sourceIps: ['Source IP addresses of outbound traffic', '出站流量源IP地址'], sourceIpsHint: ['availability zone, network and address, one a line: cn-hangzhou-b 10.0.0.0/24 10.0.0.5', '每行：可用区 网段 地址，例如 cn-hangzhou-b 10.0.0.0/24 10.0.0.5'],
  lines: ['Custom lines', '自定义线路'], addLine: ['Add Custom Line', '添加自定义线路'], editLine: ['Modify Custom Line', '修改自定义线路'], noLines: ['No custom lines.', '没有自定义线路。'],
  ranges: ['IPv4 ranges', 'IPv4 地址段'], rangesHint: ['10.0.0.1-10.0.0.9 or 10.0.0.0/24, one a line', '10.0.0.1-10.0.0.9 或 10.0.0.0/24，每行一个'],
  // Transfer
  export: ['Export', '导出'], exportDo: ['Export everything', '导出全部'], download: ['Download zones.json', '下载 zones.json'], import: ['Import', '导入'],
  importMeans: ['Documents of pvtzd (JSON, TOML), zone files, hosts files, and JSON that DescribeZones, DescribeZoneInfo and DescribeZoneRecords print; 16 MiB in all. The changes are shown before anything is done, and are done as one.', 'pvtzd 文档（JSON、TOML）、区域文件、hosts 文件，以及 DescribeZones、DescribeZoneInfo、DescribeZoneRecords 输出的 JSON；共 16 MiB 以内。执行前先显示变更，并作为一个整体执行。'],
  format: ['Format', '格式'], byItself: ['by name and content', '按名称和内容识别'], ofPvtzd: ['document of pvtzd', 'pvtzd 文档'], zoneFile: ['zone file', '区域文件'],
  hostsFile: ['hosts file', 'hosts 文件'], ofProduct: ['JSON of the Alibaba Cloud API', '阿里云 API 的 JSON'], ofZone: ['Zone of a zone file or hosts file', '区域文件或 hosts 文件所属 Zone'],
  ofZoneHint: ['if it is not in the file', '文件中没有时填写'], withoutVpcs: ['Omit the VPCs', '不导入 VPC'], noFile: ['Choose a file, or write a document.', '请选择文件或填写文档。'],
  Added: ['Added', '新增'], Changed: ['Changed', '修改'], Removed: ['Removed', '删除'], zones_: ['Zones', 'Zone'], inNumbers: ['Numbers of changes', '变更数量'],
  moreChanges: (more) => [`and ${more} more changes`, `另有 ${more} 项变更`],
  file: ['Files', '文件'], document: ['Text', '文本'], mode: ['Mode', '方式'], merge: ['merge: add and update', '合并：添加和更新'], replace: ['replace: make the account equal', '替换：与文档完全一致'],
  compare: ['Show the changes', '显示变更'], planned: ['These changes would be made', '将执行以下变更'], noDifference: ['No difference.', '没有差异。'], apply: ['Apply', '执行'], imported: ['Applied.', '已执行。'],
  tooLong: (limit) => [`This is more than ${limit} MiB: merge it in parts.`, `超过 ${limit} MiB：请分批合并。`],
};

export const LANGUAGES = [['en', 'English'], ['zh', '中文']];
const KEPT = 'pvtzd.language';
let current = (() => {
  let kept = null;
  try { kept = localStorage.getItem(KEPT); } catch { /* as the browser has it then */ }
  return kept || (typeof navigator !== 'undefined' && navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');
})();

export const language = () => current;
export function setLanguage(name) {
  current = name;
  try { localStorage.setItem(KEPT, name); } catch { /* until the tab is closed */ }
}

/** The text of a word; some take values. */
export function t(key, ...values) {
  const name = key === 'skip' && values[0] === 'step' ? 'skip_' : key;
  if (!Object.hasOwn(WORDS, name)) return key;
  const word = WORDS[name];
  return (typeof word === 'function' ? word(...values) : word)[current === 'zh' ? 1 : 0];
}
export { WORDS };
