// Calls of this server. The token lives as long as the tab.
const KEPT = 'pvtzd.token';
let token = sessionStorage.getItem(KEPT);
export const signedIn = () => Boolean(token);
export const info = {};

export class CallError extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

// An id may be more than the 2^53 up to which JavaScript's numbers are exact: it is text.
export const parsed = (text) => JSON.parse(text.replace(/"(RecordId|Id)":(\d{16,})/g, '"$1":"$2"'));

async function send(name, body) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(`api/${name}`, { method: 'POST', headers, body: JSON.stringify(body ?? {}), cache: 'no-store' });
  let told = {};
  try { told = parsed(await answer.text()); } catch { /* a refusal without JSON */ }
  if (answer.ok) return told;
  if (answer.status === 401) { leave(); dispatchEvent(new Event('signed-out')); }
  throw new CallError(told.Code || `HTTP ${answer.status}`, told.Message || answer.statusText);
}

export const post = send;

/** An action of the PrivateZone API. Parameters without a value are left out. */
export function api(action, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return send('call', { action, params: Object.fromEntries(given.map(([name, value]) => [name, String(value)])) });
}

/** One page of a list, and how many items there are in all. */
export const PAGE = 100;
export async function page(action, params, pick, number) {
  const answer = await api(action, { ...params, PageNumber: number, PageSize: PAGE });
  const items = pick(answer) || [];
  return [items, answer.TotalItems ?? items.length];
}

/** All pages of a list, up to a bound; the second part is how many there are. */
export async function all(action, params, pick, most = 500) {
  const items = [];
  for (let page = 1; ; page++) {
    const answer = await api(action, { ...params, PageNumber: page, PageSize: 100 });
    const more = pick(answer) || [];
    items.push(...more);
    const total = answer.TotalItems ?? items.length;
    if (more.length < 100 || items.length >= most) return [items, total];
  }
}

export async function enter(code) {
  const told = await send('session', { code });
  token = told.token;
  sessionStorage.setItem(KEPT, token);
}

export async function load() { Object.assign(info, await send('info')); }

export function leave() { token = null; sessionStorage.removeItem(KEPT); }

export async function signOut() {
  try { await send('session/end'); } finally { leave(); dispatchEvent(new Event('signed-out')); }
}

export const canWrite = () => info.role === 'full';

/** The list of VPCs as the parameters of an action. */
export const vpcParams = (vpcs) => Object.fromEntries(vpcs.flatMap((vpc, at) =>
  [[`Vpcs.${at + 1}.VpcId`, vpc.id], [`Vpcs.${at + 1}.RegionId`, vpc.region || '']]));
