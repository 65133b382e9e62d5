// A lab, a browser on its console, and what is watched meanwhile: foreign requests, reports of the policy, errors.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const need = createRequire(join(process.env.CONSOLE_NODE, 'node_modules', 'x'));
const { chromium } = need('playwright-core');
export const AXE = need.resolve('axe-core/axe.min.js');
const PVTZD = process.env.PVTZD;

/** Starts a lab on free ports. */
export async function startLab() {
  const state = mkdtempSync(join(tmpdir(), 'pvtzd-console-'));
  const any = '127.0.0.1:0';
  const process_ = spawn(PVTZD, ['lab', '--json', '--dns', any, '--api', any, '--http', any, '--https', any, '--state-dir', state],
    { stdio: ['ignore', 'pipe', 'inherit'], env: cleared() });
  const line = await new Promise((ready, failed) => {
    createInterface({ input: process_.stdout }).once('line', ready);
    process_.once('exit', (code) => failed(new Error(`the lab ended with ${code}`)));
  });
  const lab = JSON.parse(line);
  lab.place = lab.api.replace('http://', '');
  lab.env = { ...cleared(), ALIBABA_CLOUD_ACCESS_KEY_ID: lab.access_key_id, ALIBABA_CLOUD_ACCESS_KEY_SECRET: lab.access_key_secret, PVTZD_ENDPOINT: lab.place };
  lab.pvtzd = (...words) => execFileSync(PVTZD, words, { env: lab.env, encoding: 'utf8' });
  lab.query = (name) => spawnSync(PVTZD, ['query', name, '--server', lab.dns], { env: lab.env }); // NXDOMAIN is an exit code
  lab.address = (...words) => JSON.parse(lab.pvtzd('console', '--json', ...words)).address;
  lab.end = () => { process_.kill(); rmSync(state, { recursive: true, force: true }); };
  return lab;
}

function cleared() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PVTZD|ALIBABA|HTTP|http)/.test(name)));
}

export const startBrowser = () => chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true,
  args: ['--no-sandbox', '--disable-background-networking', '--disable-gpu', '--disable-dev-shm-usage'] });

/** A page signed in, whose requests and reports are watched: `wrong` has all that must not be. */
export async function openConsole(browser, lab, { locale = 'en-US', scheme = 'light', width = 1100, words = [] } = {}) {
  const context = await browser.newContext({ locale, colorScheme: scheme, viewport: { width, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const wrong = [];
  page.on('request', (request) => {
    const to = new URL(request.url());
    if (!['data:', 'blob:'].includes(to.protocol) && to.host !== lab.place) wrong.push(`a request to ${request.url()}`);
  });
  page.on('pageerror', (error) => wrong.push(`an error: ${error.stack}`));
  page.on('console', (message) => { if (/Content.Security|Trusted/i.test(message.text())) wrong.push(`a report: ${message.text()}`); });
  page.on('dialog', (dialog) => { wrong.push(`a script ran: ${dialog.message()}`); dialog.dismiss(); });
  await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => console.log(`Content Security: ${event.violatedDirective} ${event.blockedURI}`)));
  await page.goto(lab.address(...words));
  await page.waitForSelector('nav a');
  return { page, wrong, context };
}

/** Findings of axe that are serious or worse. */
export async function findings(page) {
  // The policy of the console keeps axe out as any script; the debugger's own way in is not bound by it.
  const { readFileSync } = await import('node:fs');
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: readFileSync(AXE, 'utf8') });
  const { result } = await session.send('Runtime.evaluate', { awaitPromise: true, returnByValue: true, expression:
    `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((told) => JSON.stringify(told.violations
      .filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => one.id + ': ' + one.nodes.slice(0, 3).map((node) => node.html + ' ' + (node.failureSummary || '')).join(' | '))))` });
  await session.detach();
  return JSON.parse(result.value);
}
