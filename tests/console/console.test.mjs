// The console in a browser, clicked as a person would: node --test tests/console.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findings, openConsole, startBrowser, startLab } from './lab.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = ['recipe', 'zones', 'forward', 'explain', 'log', 'statistics', 'cache', 'doctor', 'transfer'];
const ZONE = 'ecs.cn-hangzhou.aliyuncs.com';
let browser;

before(async () => { browser = await startBrowser(); });
after(async () => { await browser?.close(); });

/** Runs a test with a lab of its own. */
const withLab = (work) => async (context) => {
  const lab = await startLab();
  try { await work(lab, context); } finally { lab.end(); }
};

test('both languages have all words', async () => {
  const source = readFileSync(`${ROOT}/src/console/pages/words.js`, 'utf8');
  const { WORDS } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
  for (const [key, word] of Object.entries(WORDS)) {
    const texts = typeof word === 'function' ? word('a', 'b', 'c', 'd') : word;
    assert.equal(texts.length, 2, key);
    assert.ok(texts.every((text) => typeof text === 'string' && text), key);
  }
  for (const name of ['recipe', 'zones', 'zone', 'forward', 'explain', 'live', 'state', 'transfer', 'main', 'dom']) {
    const text = readFileSync(`${ROOT}/src/console/pages/${name}.js`, 'utf8');
    for (const [, key] of text.matchAll(/\bt\('([a-zA-Z_]+)'/g)) assert.ok(WORDS[key], `${name}.js: ${key}`);
  }
});

for (const [locale, words] of [
  ['en-US', { next: 'Next', addZone: 'Add Zone', addRecord: 'Add Record', addZones: 'Add these zones', bind: 'Bind VPC', dns: 'Test the answer', call: 'Call the API', done: 'Done: the API is reached' }],
  ['zh-CN', { next: '下一步', addZone: '添加Zone', addRecord: '添加记录', addZones: '添加这些 Zone', bind: '关联VPC', dns: '测试解析', call: '调用API', done: '完成' }],
]) {
  test(`the nine steps of the recipe, ${locale}`, withLab(async (lab) => {
    const { page, wrong, context } = await openConsole(browser, lab, { locale });
    const press = (step, name) => page.locator(`#step-${step}`).getByRole('button', { name, exact: true }).click();
    const is = (step) => page.waitForSelector(`#step-${step}[aria-current=step]`);
    await is('region');
    assert.equal(await page.locator('#step-region select').inputValue(), 'cn-hangzhou');
    await press('region', words.next);
    await is('name');
    assert.equal(await page.locator('#step-name input').inputValue(), ZONE);
    await press('name', words.next);
    await is('proxy');
    assert.ok(await page.locator('#step-proxy input').isChecked());
    await press('proxy', words.addZone);
    await is('settings');
    await press('settings', words.next);
    await is('record');
    await press('record', words.addRecord);
    await is('more');
    await press('more', words.addZones);
    await is('bind');
    await press('bind', words.bind);
    await is('dns');
    await press('dns', words.dns);
    await is('call');
    await press('call', words.call);
    await page.waitForSelector('#recipe-done', { timeout: 30000 });
    assert.ok((await page.locator('#recipe-done').innerText()).startsWith(words.done));
    assert.equal(await page.locator('.steps li.done').count(), 9);
    assert.deepEqual(wrong, []);
    await context.close();

    const zones = JSON.parse(lab.pvtzd('zone', 'list', '--json')).map((zone) => zone.ZoneName).sort();
    assert.deepEqual(zones, ['ecs-cn-hangzhou.aliyuncs.com', ZONE, 'ecs.aliyuncs.com'].sort());
    // The official Python client, through the name that the console made.
    if (existsSync(process.env.CONSOLE_PYTHON || '')) {
      const told = execFileSync(process.env.CONSOLE_PYTHON, [`${ROOT}/tests/console/describe_regions.py`],
        { env: { ...lab.env, LAB_DNS: lab.dns, LAB_HTTP: lab.http, LAB_HTTPS: lab.https, REQUESTS_CA_BUNDLE: lab.ca, SSL_CERT_FILE: lab.ca }, encoding: 'utf8' });
      assert.match(told, /cn-hangzhou/);
    }
  }));
}

test('a zone is made, filled, bound, explained and deleted by hand', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  const click = (name, within = page) => within.getByRole('button', { name, exact: true }).first().click();
  await page.goto(`${lab.console}#/zones`);
  await click('Add Zone');
  const dialog = page.locator('dialog');
  await dialog.getByLabel('Zone Name').fill('not a name..');
  await click('OK', dialog);
  await dialog.locator('[role=alert]').waitFor();
  await dialog.getByLabel('Zone Name').fill('corp.example');
  await click('OK', dialog);
  await page.waitForFunction(() => location.hash.startsWith('#/zone/'));
  await click('Add Record');
  await dialog.getByLabel('Hostname').fill('www');
  await dialog.getByLabel('Record Value').fill('192.0.2.300');
  await click('OK', dialog);
  assert.match(await dialog.locator('[role=alert]').innerText(), /Record\.Invalid\.Value/);
  await dialog.getByLabel('Record Value').fill('192.0.2.7');
  await click('OK', dialog);
  await page.getByText('192.0.2.7').waitFor();
  // A text with quotes and backslashes is the same after it was edited.
  const txt = String.raw`"v=spf1 \"x\" ; é" "two"`;
  await click('Add Record');
  await dialog.getByLabel('Record Type').selectOption('TXT');
  await dialog.getByLabel('Hostname').fill('text');
  await dialog.getByLabel('Record Value').fill(txt);
  await click('OK', dialog);
  await page.getByText('text', { exact: true }).waitFor();
  const value = () => JSON.parse(lab.pvtzd('record', 'list', 'corp.example', 'text', '--json'))[0].Value;
  const kept = value();
  await page.getByRole('row', { name: 'text TXT' }).getByRole('button', { name: 'Edit' }).click();
  await dialog.getByLabel('TTL Value').fill('120');
  await click('OK', dialog);
  await page.getByRole('cell', { name: '120' }).waitFor();
  assert.equal(value(), kept);
  await page.getByRole('link', { name: 'Effective Scope' }).click();
  await page.getByLabel('vpc-lab', { exact: false }).check();
  await click('Save');
  await page.getByText('Saved.').waitFor();
  await page.goto(`${lab.console}#/explain?name=www.corp.example&type=A`);
  await page.locator('svg.path').waitFor();
  const words = await page.locator('svg.path').getAttribute('aria-label');
  assert.match(words, /vpc-lab.*private zone: corp\.example.*192\.0\.2\.7.*NOERROR/);
  assert.match(await page.locator('pre').first().innerText(), /192\.0\.2\.7/);
  await page.goto(`${lab.console}#/transfer`);
  await page.getByText('console', { exact: true }).first().waitFor();
  await page.getByLabel('Text', { exact: true }).fill(JSON.stringify({ Zones: [{ ZoneName: 'new.example', Records: [{ Rr: '@', Type: 'A', Value: '192.0.2.8' }] }] }));
  await click('Show the changes');
  await page.locator('.plus').first().waitFor();
  assert.ok(!lab.pvtzd('zone', 'list').includes('new.example'), 'nothing is done before it is confirmed');
  await click('Apply');
  await page.getByText('Applied.').waitFor();
  assert.ok(lab.pvtzd('zone', 'list').includes('new.example'));
  await page.goto(`${lab.console}#/zones?find=corp`);
  await click('Delete');
  await click('Delete', dialog);
  await page.getByText('No zones.').waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('hostile names are text', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  const hostile = '<img src=x onerror=alert(1)>\u202e';
  lab.pvtzd('zone', 'add', 'evil.example');
  lab.pvtzd('record', 'add', 'evil.example', '@', 'TXT', '"<img src=x onerror=alert(3)>"');
  await page.goto(`${lab.console}#/log`);
  await page.getByText('No answers yet.').waitFor();
  lab.query(String.raw`\<img\032src=x\032onerror=alert(1)\>.evil.example`);
  await page.locator('td a').first().waitFor();
  assert.match(await page.locator('td a').first().innerText(), /img\\032src/);
  await page.locator('td a').first().click();
  await page.locator('svg.path').waitFor();
  await page.goto(`${lab.console}#/explain?${new URLSearchParams({ name: hostile, type: 'A' })}`);
  await page.waitForSelector('[role=alert], svg.path');
  await page.goto(`${lab.console}#/zones`);
  await page.getByRole('link', { name: 'evil.example' }).click();
  await page.getByText('<img src=x onerror=alert(3)>').first().waitFor();
  assert.equal(await page.locator('main img, main script').count(), 0);
  assert.ok(!(await page.locator('main').innerText()).includes('\u202e'));
  assert.deepEqual(wrong, []);
  await context.close();
}));

// Words that are properties of every object in JavaScript, and addresses that lead nowhere.
test('names of properties are names', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  lab.pvtzd('zone', 'add', '__proto__', '--vpc', 'vpc-lab');
  for (const label of ['__proto__', 'constructor', 'toString', '@']) lab.pvtzd('record', 'add', '__proto__', label, 'A', '192.0.2.9');
  await page.goto(`${lab.console}#/zones`);
  await page.getByRole('link', { name: '__proto__' }).click();
  for (const label of ['__proto__', 'constructor', 'toString']) await page.locator('code', { hasText: label }).first().waitFor();
  const zone = new URL(page.url()).hash.split('/')[2];
  await page.goto(`${lab.console}#/explain?name=constructor.__proto__&type=A`);
  await page.locator('svg.path').waitFor();
  lab.query('constructor.__proto__');
  await page.goto(`${lab.console}#/statistics`);
  await page.getByRole('cell', { name: '__proto__' }).first().waitFor();
  for (const place of ['constructor', '__proto__', 'toString', 'zone', '%E0%A4%A', 'zone/%', 'recipe/../x', 'zones?page=-1', 'zones?page=9e99', 'statistics?hours=x']) {
    await page.goto(`${lab.console}#/${place}`);
    await page.locator('main h1').waitFor();
  }
  for (const tab of ['__proto__', 'constructor', 'none']) {
    await page.goto(`${lab.console}#/zone/${zone}/${tab}`);
    await page.getByRole('button', { name: 'Add Record' }).waitFor();
  }
  assert.equal(await page.evaluate(() => ({}).polluted), undefined);
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('long lists have pages', withLab(async (lab) => {
  const folder = mkdtempSync(join(tmpdir(), 'pvtzd-pages-'));
  const file = join(folder, 'zones.json');
  const records = Array.from({ length: 250 }, (_, at) => ({ Rr: `h${at}`, Type: 'A', Value: `10.0.0.${at}` }));
  const zones = Array.from({ length: 250 }, (_, at) => ({ ZoneName: `z${at}.example`, Records: at ? [] : records }));
  writeFileSync(file, JSON.stringify({ Zones: zones }));
  lab.pvtzd('import', file);
  rmSync(folder, { recursive: true });
  const { page, wrong, context } = await openConsole(browser, lab);
  await page.goto(`${lab.console}#/zones`);
  await page.getByText('Zones: 250').waitFor();
  assert.equal(await page.locator('tbody tr').count(), 100);
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.getByText('page 2 of 3').waitFor();
  assert.match(page.url(), /page=2$/);
  await page.waitForFunction(() => document.activeElement.textContent === 'Next page');
  await page.keyboard.press('Enter');
  await page.getByText('page 3 of 3').waitFor();
  assert.equal(await page.locator('tbody tr').count(), 50);
  await page.reload();
  await page.getByText('page 3 of 3').waitFor();
  await page.getByLabel('Search zones').fill('z24');
  await page.keyboard.press('Enter');
  await page.getByText('Zones: 11').waitFor();
  await page.getByLabel('Search zones').fill('z0.');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'z0.example' }).click();
  await page.getByText('Records: 250').waitFor();
  await page.getByRole('button', { name: 'Last' }).click();
  await page.getByText('page 3 of 3').waitFor();
  await page.goto(`${page.url().split('?')[0]}?page=99`);
  await page.getByText('page 3 of 3').waitFor();
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('files of all kinds are imported, and their changes shown before', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  const file = (name, text) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
  const press = (name) => page.getByRole('button', { name, exact: true }).click();
  const applied = async () => {
    await press('Apply');
    await page.getByRole('button', { name: 'Apply', exact: true }).waitFor({ state: 'detached' });
  };
  await page.goto(`${lab.console}#/transfer`);
  const input = page.getByLabel('Files');
  await input.setInputFiles([file('corp.example.zone', '$TTL 60\nwww A 192.0.2.1\nsub NS ns.x.\n'), file('hosts', '192.0.2.2 db.app.example\n')]);
  await press('Show the changes');
  await page.getByText('omitted 1 record of type NS').waitFor();
  assert.equal(await page.locator('.plus').count(), 4);
  assert.deepEqual(await findings(page), []);
  assert.ok(!lab.pvtzd('zone', 'list').includes('corp.example'), 'nothing is done before it is confirmed');
  lab.pvtzd('zone', 'add', 'corp.example');
  await press('Apply');
  await page.getByText('the account has changed since').waitFor();
  await press('Show the changes');
  await page.locator('.plus').nth(2).waitFor();
  await applied();
  assert.match(lab.pvtzd('record', 'list', 'corp.example'), /192\.0\.2\.1/);
  const long = Array.from({ length: 20000 }, (_, at) => `h${at} 60 A 10.0.${at >> 8}.${at & 255}`).join('\n');
  await input.setInputFiles([file('big.zone', `$ORIGIN big.example.\n${long}\n`)]);
  await press('Show the changes');
  await page.getByRole('cell', { name: '20000' }).waitFor();
  await page.getByText(/and 1[0-9]{4} more changes/).waitFor();
  await applied();
  assert.equal(JSON.parse(lab.pvtzd('zone', 'list', '--json')).find((zone) => zone.ZoneName === 'big.example').RecordCount, 20000);
  await input.setInputFiles([{ ...file('latin.zone', ''), buffer: Buffer.from('$ORIGIN latin.example.\ncaf\xe9 60 TXT "\xe9\\\xe9"\n', 'latin1') }]);
  await press('Show the changes');
  await page.getByText('caf\\233').waitFor();
  await input.setInputFiles([file('x.zone', '$INCLUDE /etc/hostname\n')]);
  await press('Show the changes');
  await page.getByText('includes no files').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Apply', exact: true }).count(), 0);
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('axe runs, and finds what is wrong', withLab(async (lab) => {
  const { page, context } = await openConsole(browser, lab);
  await page.evaluate(() => { document.querySelector('main').append(document.createElement('img'), document.createElement('input')); });
  const found = (await findings(page)).join();
  assert.ok(found.includes('image-alt') && found.includes('label'), found);
  await context.close();
}));

test('rules, endpoints, lines and the cache by hand, in Chinese', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab, { locale: 'zh-CN' });
  const click = (name, within = page) => within.getByRole('button', { name, exact: true }).first().click();
  const dialog = page.locator('dialog');
  await page.goto(`${lab.console}#/forward`);
  await click('添加转发规则');
  await dialog.getByLabel('Zone名称').fill('corp.example');
  await dialog.getByLabel('服务器').fill('127.0.0.1:1, 127.0.0.1:2');
  await dialog.getByLabel('vpc-lab', { exact: false }).check();
  await click('确定', dialog);
  await page.getByText('127.0.0.1:2').waitFor();
  await click('修改');
  await dialog.getByLabel('服务器').fill('127.0.0.1:3');
  await click('确定', dialog);
  await page.getByText('127.0.0.1:3').waitFor();
  await click('关联VPC');
  await dialog.getByLabel('vpc-other', { exact: false }).check();
  await click('确定', dialog);
  await page.getByText('vpc-lab, vpc-other').waitFor();
  await page.goto(`${lab.console}#/explain?name=www.corp.example&type=A`);
  await page.locator('svg.path .forward').first().waitFor();
  assert.match(await page.locator('svg.path').getAttribute('aria-label'), /转发: corp\.example.*127\.0\.0\.1:3/);
  await page.goto(`${lab.console}#/forward`);
  await click('添加出站终端节点');
  await dialog.getByLabel('名称').fill('out');
  await dialog.getByLabel('出站流量源IP地址').fill('cn-hangzhou-b 10.0.0.0/24 10.0.0.5\ncn-hangzhou-c 10.0.1.0/24 10.0.1.5');
  await click('确定', dialog);
  await page.getByText('10.0.1.5').waitFor();
  await click('添加自定义线路');
  await dialog.getByLabel('名称').fill('office');
  await dialog.getByLabel('IPv4 地址段').fill('10.9.0.0/24');
  await click('确定', dialog);
  await page.getByText('office').waitFor();
  for (let left = 3; left > 0; left--) {
    await click('删除');
    await click('删除', dialog);
    await dialog.waitFor({ state: 'detached' });
    await page.waitForFunction((count) => [...document.querySelectorAll('main button.bad')].length === count, left - 1);
  }
  lab.query('popunify-vpc.cn-hangzhou.aliyuncs.com');
  await page.goto(`${lab.console}#/cache?name=aliyuncs.com&below=1`);
  await page.getByText('popunify-vpc.cn-hangzhou.aliyuncs.com').first().waitFor();
  await click('清除缓存');
  await click('清除缓存', dialog);
  await page.getByText('没有该名称的条目。').waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('a fleet is shown where there is one', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  await page.goto(`${lab.console}#/statistics`);
  await page.getByText('Upstreams').first().waitFor();
  assert.equal(await page.getByRole('region', { name: 'Fleet' }).count(), 0);
  await page.route('**/api/status', async (route) => {
    const answer = await route.fetch();
    const fleet = { node: '<img src=x onerror=alert(4)>\u202e', state: 'away', revision: 7, rows: 12, behind: 2.5, known: true, fault: 'etcd: no answer', whole: true, held: null, bad_rows: 0, bad: [], snapshot_fault: null };
    await route.fulfill({ response: answer, json: { ...(await answer.json()), fleet } });
  });
  await page.getByRole('button', { name: 'Refresh' }).click();
  await page.getByRole('region', { name: 'Fleet' }).getByText('etcd: no answer').waitFor();
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('the live log carries its filters, pauses, and keeps the focus', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  await page.goto(`${lab.console}#/log?name=wanted`);
  await page.getByText('No answers yet.').waitFor();
  lab.query('wanted.example');
  lab.query('other.example');
  await page.locator('td a').first().waitFor();
  await page.getByText('1 rows shown of 1 answers that match; 0 not shown. Answers in all: 2').waitFor();
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'wanted');
  await page.locator('td a').first().focus();
  lab.query('wanted.example');
  await page.getByText('held while the keyboard or a selection is in the table').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'wanted.example');
  await page.getByRole('button', { name: 'Pause' }).click();
  assert.match(page.url(), /name=wanted&paused=1$/);
  const filtered = async (word, act) => {
    const answered = page.waitForResponse((answer) => answer.request().postData()?.includes(word));
    await act();
    await answered;
  };
  await filtered('"name":"other"', () => page.getByLabel('Name', { exact: true }).fill('other'));
  await page.waitForFunction(() => location.hash === '#/log?name=other&paused=1');
  lab.query('other.example');
  await page.getByText(/paused; [1-9]/).waitFor();
  assert.equal(await page.locator('td a').first().innerText(), 'wanted.example', 'what is looked at stays');
  await page.getByRole('button', { name: 'Go on' }).click();
  assert.match(page.url(), /name=other$/);
  lab.query('other.example');
  await page.getByRole('link', { name: 'other.example' }).first().waitFor();
  assert.equal(await page.getByRole('link', { name: 'wanted.example' }).count(), 0);
  await page.getByLabel('Record Type').fill('NONE');
  await page.getByText('is no record type').waitFor();
  await filtered('"type":"a"', () => page.getByLabel('Record Type').fill('a'));
  await filtered('NXDOMAIN', () => page.getByLabel('Code').selectOption('NXDOMAIN'));
  lab.query('other.example');
  await page.getByRole('link', { name: 'other.example' }).first().waitFor();
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('a code counts once, and a session ends with its tab', withLab(async (lab) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const address = lab.address();
  await page.goto(address);
  await page.waitForSelector('nav a');
  assert.ok(!page.url().includes('code='), 'the code does not stay in the address');
  assert.deepEqual(await context.cookies(), []);
  const other = await context.newPage();
  await other.goto(address);
  await other.locator('[role=alert]').waitFor();
  assert.equal(await other.locator('nav a').count(), 0, 'a stolen address is worth nothing');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await context.close();
}));

test('a read-only session shows no buttons that change', withLab(async (lab) => {
  lab.pvtzd('zone', 'add', 'corp.example');
  const { page, wrong, context } = await openConsole(browser, lab, { words: ['--read-only'] });
  await page.goto(`${lab.console}#/zones`);
  await page.getByRole('link', { name: 'corp.example' }).waitFor();
  assert.equal(await page.getByRole('button', { name: /Add|Delete/ }).count(), 0);
  assert.deepEqual(wrong, []);
  await context.close();
}));

test('the keyboard alone is enough', withLab(async (lab) => {
  const { page, wrong, context } = await openConsole(browser, lab);
  await page.goto(`${lab.console}#/zones`);
  await page.getByRole('button', { name: 'Add Zone' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Add Zone', 'the focus comes back');
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').getByLabel('Zone Name').focus();
  await page.keyboard.type('keys.example');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => location.hash.startsWith('#/zone/'));
  assert.deepEqual(wrong, []);
  await context.close();
}));

// Every page, both languages, both schemes: no serious finding of axe; at 320 px nothing is beside the page. With
// WRITE_SCREENSHOTS=1 the pictures of docs/console.md are written.
test('every page is accessible in both schemes and languages, and fits 320 px', withLab(async (lab) => {
  lab.pvtzd('zone', 'add', ZONE, '--proxy', '--vpc', 'vpc-lab');
  lab.pvtzd('record', 'add', ZONE, '@', 'CNAME', 'popunify-vpc.cn-hangzhou.aliyuncs.com');
  const zone = JSON.parse(lab.pvtzd('zone', 'list', '--json'))[0].ZoneId;
  const places = Object.fromEntries(PAGES.map((name) => [name, `#/${name}`]));
  Object.assign(places, { zone: `#/zone/${zone}/records`, scope: `#/zone/${zone}/scope`, changes: `#/zone/${zone}/changes`,
    explain: `#/explain?name=${ZONE}&type=A`, cache: '#/cache?name=cn-hangzhou.aliyuncs.com&below=1' });
  const pictures = `${ROOT}/docs/pictures`;
  if (process.env.WRITE_SCREENSHOTS) mkdirSync(pictures, { recursive: true });
  for (const locale of ['en-US', 'zh-CN']) {
    for (const scheme of ['light', 'dark']) {
      const { page, wrong, context } = await openConsole(browser, lab, { locale, scheme });
      for (const [name, place] of Object.entries(places)) {
        const read = name === 'log' && page.waitForResponse((answer) => answer.url().endsWith('api/log'));
        await page.goto(`${lab.console}${place}`);
        if (name === 'log') {
          await read; // the log has begun
          for (const one of [ZONE, 'www.example.com', 'popunify-vpc.cn-hangzhou.aliyuncs.com']) lab.query(one);
          await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 3);
        }
        if (name === 'doctor') {
          await page.locator('main button').first().click();
          await page.locator('.finding').first().waitFor({ timeout: 30000 });
        }
        await page.waitForFunction(() => !/Loading …|加载中/.test(document.querySelector('main').textContent));
        assert.deepEqual(await findings(page), [], `${name} ${locale} ${scheme}`);
        const picture = (locale === 'en-US') === (scheme === 'light');
        if (process.env.WRITE_SCREENSHOTS && picture) await page.screenshot({ path: `${pictures}/${name}-${locale.slice(0, 2)}.png` });
        await page.setViewportSize({ width: 320, height: 700 });
        const beside = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(beside <= 0, `${name} ${locale}: ${beside} px beside the page`);
        await page.setViewportSize({ width: 1100, height: 900 });
      }
      assert.deepEqual(wrong, []);
      await context.close();
    }
  }
}));
