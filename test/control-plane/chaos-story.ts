/** Tells of a broken promise: what was sent and answered for the action, and what was broken on purpose meanwhile. */
import type { Entry } from './chaos-history.ts';
import type { Judgement } from './chaos-judge.ts';

const mostLines = 120;

export function tellStory(violation: string, entries: Entry[], { calls }: Judgement): string {
  const ids = new Set([...violation.matchAll(/lane-\d+-n\d+/g)].map(([id]) => id));
  const start = entries[0]?.at ?? 0;
  const isOwn = (text: string) => [...ids].some((id) => new RegExp(`${id}(?!\\d)`).test(text));
  const deliveries = new Set<string>();
  const status = new Map<number, number>();
  for (const entry of entries) if (entry.kind === 'carried_out') status.set(entry.call, entry.status);
  const own: { at: number; line: string }[] = [];
  const troubles: { at: number; line: string }[] = [];
  for (const entry of entries) {
    const { at } = entry;
    const trouble = describeTrouble(entry);
    if (trouble !== undefined) troubles.push({ at, line: `*** ${trouble}` });
    if (entry.kind === 'delivery' && entry.what !== 'reconcile') {
      const text = JSON.stringify('alert' in entry.what ? decode(entry.what.alert) : entry.what);
      if (!isOwn(text)) continue;
      deliveries.add(entry.delivery);
      own.push({ at, line: `${entry.delivery} to ${entry.process}: ${text.slice(0, 400)}` });
    }
    if (entry.kind === 'answer' && deliveries.has(entry.delivery)) {
      own.push({
        at,
        line: `${entry.delivery} is answered ${entry.status ?? 'nothing'}: ${entry.text.slice(0, 300)}`,
      });
    }
    const call = entry.kind === 'call' ? calls.get(entry.call) : undefined;
    if (entry.kind !== 'call' || !call || call.method === 'GET') continue;
    if (!isOwn(`${call.actionId} ${entry.body} ${entry.path}`)) continue;
    const outcome = status.get(entry.call) ?? 'not carried out';
    const how = entry.fault ? ` [${entry.fault}]` : '';
    own.push({
      at,
      line: `  #${call.invocation} ${call.actionId}: ${entry.method} ${entry.path} → ${outcome}${how} ${summarise(entry.body)}`,
    });
  }
  const [first, last] = [own[0]?.at ?? 0, own.at(-1)?.at ?? 0];
  const lines = [...own, ...troubles.filter(({ at }) => at >= first && at <= last)]
    .sort((a, b) => a.at - b.at)
    .map(({ at, line }) => `${((at - start) / 1000).toFixed(2).padStart(8)} s ${line}`);
  return [violation, ...lines.slice(0, mostLines), ...(lines.length > mostLines ? ['…'] : [])].join('\n');
}

function describeTrouble(entry: Entry): string | undefined {
  if (entry.kind === 'trouble') return entry.what;
  if (entry.kind === 'pause') return entry.isOn ? 'a person pauses' : 'a person ends the pause';
  if (entry.kind === 'gke') return `GKE begins to work on ${entry.operation.pool}`;
  return entry.kind === 'person' ? `${entry.what} ${entry.node} of ${entry.pool}` : undefined;
}

/** What a write of a Lease or a node changes. */
function summarise(body: string): string {
  if (body === '') return '';
  const { metadata, spec } = JSON.parse(body) as {
    metadata?: { name?: string; annotations?: Record<string, string> };
    spec?: { holderIdentity?: string; unschedulable?: boolean };
  };
  const { annotations = {} } = metadata ?? {};
  const phase = annotations['autometric-failover/phase'];
  const told = {
    name: metadata?.name,
    phase,
    holder: spec?.holderIdentity,
    unschedulable: spec?.unschedulable,
    verdict: annotations['autometric-failover/verdict'],
  };
  return JSON.stringify(told);
}

function decode(envelope: object): unknown {
  const { message } = envelope as { message?: { data?: string } };
  const payload = JSON.parse(Buffer.from(message?.data ?? '', 'base64').toString() || '{}') as {
    incident?: Record<string, unknown>;
  };
  const { incident_id: id, state, policy_user_labels: labels, resource } = payload.incident ?? {};
  return { id, state, labels, resource };
}
