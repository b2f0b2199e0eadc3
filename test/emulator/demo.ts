// Real HTTP actions through the real function on the embedded emulator, and what they do to two slices.
import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import * as v from 'valibot';
import { failoverNamespace } from '../../src/names.ts';
import { summarise } from '../../src/step.ts';
import type { RecordedStep } from '../../src/step.ts';
import { describeVerdict, verdictSchema } from '../../src/verdict.ts';
import type { Verdict } from '../../src/verdict.ts';
import type { EmulatedCluster } from './cluster.ts';
import { startLocalStack } from './local-stack.ts';
import type { LocalStack } from './local-stack.ts';

type Style = Parameters<typeof styleText>[0];

const hasColour = process.stdout.isTTY && !process.env['NO_COLOR'];
const paint = (style: Style, text: string) => (hasColour ? styleText(style, text) : text);

interface Scene {
  title: string;
  path?: '/alerts';
  action: Record<string, unknown>;
  /** Who sends it, as an identity token of Cloud Run says. */
  caller?: string;
  /** What it approves: the plan of that action, as its answer had it. */
  approves?: string;
  expected: number;
  /** What goes wrong before, in a sentence. */
  fault?: (cluster: EmulatedCluster) => string;
  /** What GKE or the JobSet does by itself, once `until` is true. */
  caption?: string;
  /** What must be true before the pools are shown, because the cluster's controllers take a moment. */
  until?: (cluster: EmulatedCluster) => boolean;
  /** The action whose verdict is shown once it is there. */
  verdictOf?: string;
  /** Which pools are drawn; the slices, unless said otherwise. */
  pools?: string[];
}

const who = { requestor: 'demo@example.com', reason: 'a machine of slice-a is not Ready' };
const mistake = { requestor: 'demo@example.com', reason: 'meant another slice' };
const restart = {
  id: 'demo-restart',
  type: 'cordon_nodepool_and_restart_jobset',
  jobset_name: 'train',
  node_pool: 'slice-a',
  ...who,
};
const repair = { id: 'demo-repair', type: 'repair_nodepool', node_pool: 'slice-a', ...who };

/** What Cloud Monitoring sends for a policy with these user labels, in the envelope of a Pub/Sub push. */
function toPush(incident: Record<string, unknown>): Record<string, unknown> {
  const notification = { incident, version: '1.2' };
  const data = Buffer.from(JSON.stringify(notification)).toString('base64');
  const message = { data, messageId: '1', publishTime: new Date().toISOString() };
  return { message, subscription: 'projects/demo-project/subscriptions/failover' };
}

const incident = {
  incident_id: '0.demo1',
  state: 'open',
  started_at: Math.floor(Date.now() / 1000),
  summary: 'slice-b is unavailable',
  policy_name: 'TPU slice unavailable',
  policy_user_labels: { failover_action: 'cordon_nodepool_and_restart_jobset' },
  resource: {
    type: 'k8s_node_pool',
    labels: {
      project_id: 'demo-project',
      location: 'us-central1',
      cluster_name: 'demo',
      node_pool_name: 'slice-b',
    },
  },
};

const badGpu = { requestor: 'demo@example.com', reason: 'a GPU of gpu-a fell off the bus (Xid 79)' };
const gpuRepair = { id: 'demo-gpu-repair', type: 'repair_nodepool', node_pool: 'gpu-a', ...badGpu };

const scenes: Scene[] = [
  {
    title: 'A machine breaks. A dry run says what would be done, and does nothing',
    fault: (cluster) => breakMachine(cluster, 'slice-a'),
    action: { ...restart, id: 'demo-dry-run', dry_run: true },
    expected: 200,
  },
  {
    title: 'Cordon the slice and restart its JobSet: it moves to the other slice',
    action: restart,
    expected: 200,
    until: (cluster) => countPods(cluster, 'slice-b') === 16,
    caption: 'The JobSet makes its pods anew by itself, and they find room on slice-b:',
    verdictOf: 'demo-restart',
  },
  {
    title: 'Repair the slice: deleting one machine makes GKE re-create all of them',
    action: repair,
    expected: 200,
    until: (cluster) => cluster.nodes('slice-a').filter(isReady).length < 15,
    caption: 'GKE takes the machines of slice-a away by itself, to make all of them anew:',
  },
  {
    title: 'The same id again gets the recorded answer, and nothing is done twice',
    action: repair,
    expected: 200,
  },
  {
    title: 'Another repair of the same slice is refused, and the text says how to insist',
    action: { ...repair, id: 'demo-repair-2' },
    expected: 429,
  },
  {
    title: 'A misspelt dry_run is refused rather than run live',
    action: { ...repair, id: 'demo-typo', dryRun: true },
    expected: 400,
    until: (cluster) => cluster.nodes('slice-a').filter(isReady).length === 16,
    caption:
      'Meanwhile GKE has made the machines of slice-a anew by itself. Nodes that register anew are not cordoned:',
    verdictOf: 'demo-repair',
  },
  {
    title: 'Cordon the healthy slice by mistake, and undo it',
    action: { id: 'demo-cordon', type: 'cordon_nodepool', node_pool: 'slice-a', ...mistake },
    expected: 200,
  },
  {
    title: 'Uncordon',
    action: { id: 'demo-uncordon', type: 'uncordon_nodepool', node_pool: 'slice-a', ...mistake },
    expected: 200,
  },
  {
    title: 'A repair that needs an approval makes its plan, and does nothing else',
    action: { ...repair, id: 'demo-approval', node_pool: 'slice-b', approval: 'required' },
    caller: 'alice@example.com',
    expected: 202,
  },
  {
    title: 'Whoever asked for it cannot approve it',
    action: { type: 'approve', id: 'demo-approval', requestor: 'alice@example.com' },
    caller: 'alice@example.com',
    approves: 'demo-approval',
    expected: 403,
  },
  {
    title: 'Somebody else rejects it, because the run is on that slice',
    action: { type: 'reject', id: 'demo-approval', requestor: 'bob@example.com', reason: 'the run is there' },
    caller: 'bob@example.com',
    expected: 200,
    verdictOf: 'demo-approval',
  },
  {
    title: 'An alert about the other slice arrives by Pub/Sub: the JobSet moves back',
    path: '/alerts',
    action: toPush(incident),
    expected: 200,
    until: (cluster) => countPods(cluster, 'slice-a') === 16,
    caption: 'The JobSet makes its pods anew by itself, and they find room on slice-a:',
    verdictOf: '0.demo1',
  },
  {
    title: 'Now slice-b is cordoned, so no slice is free: a restart that must not wait is refused',
    action: { ...restart, id: 'demo-no-spare', when_no_spare: 'refuse', dry_run: true },
    expected: 409,
  },
  {
    title: 'A GPU machine breaks. It is deleted, and the new one comes back on the same bad host',
    fault(cluster) {
      cluster.switches.keepHosts('gpu-a', 1);
      insist(cluster);
      return `${breakMachine(cluster, 'gpu-a')}. Two pools were acted on within the hour, so a person lifts the limits (override-until)`;
    },
    action: gpuRepair,
    expected: 200,
    until: (cluster) => readVerdict(cluster, gpuRepair.id) !== undefined,
    caption: 'The instance group has made the machine anew, and Compute has put it where the old one was:',
    verdictOf: gpuRepair.id,
    pools: ['gpu-a'],
  },
  {
    title: 'It breaks again. Its host is reported instead, and GKE moves the machine to another one',
    fault: (cluster) => breakMachine(cluster, 'gpu-a'),
    action: { ...gpuRepair, id: 'demo-report', repair: 'report_faulty_host', fault: 'xid' },
    expected: 200,
    until: (cluster) => readVerdict(cluster, 'demo-report') !== undefined,
    caption: 'GKE has drained the node, reported its host, and started the machine on another one:',
    verdictOf: 'demo-report',
    pools: ['gpu-a'],
  },
];

/** The hashes of the plans that wait, by the action's id. */
const plans = new Map<string, string>();

const stack = await startLocalStack({ port: 0, onLogLine: () => undefined });
try {
  console.log(
    `${stack.url}/ is the page, while this runs. The function listens there, the emulated GKE beside it.\n`,
  );
  console.log(drawPools(stack.cluster));
  for (const scene of scenes) await play(scene, stack);
  console.log(paint('green', 'all went as expected'));
} finally {
  await stack.stop();
}

async function play(
  { title, path, action: asked, caller, approves, expected, fault, caption, until, verdictOf, pools }: Scene,
  { url, emulator, cluster }: LocalStack,
): Promise<void> {
  console.log(`\n${paint('bold', `── ${title}`)}`);
  if (fault) {
    console.log(paint('red', `  ${fault(cluster)}`));
    console.log(drawPools(cluster, pools));
  }
  const seen = emulator.requests.length;
  const action = approves === undefined ? asked : { ...asked, plan: plans.get(approves) };
  console.log(paint('cyan', `POST ${path ?? '/actions'} ${JSON.stringify(path ? incident : action)}`));
  const response = await fetch(`${url}${path ?? '/actions'}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(caller && { Authorization: `Bearer ${toToken(caller)}` }),
    },
    body: JSON.stringify(action),
  });
  const body = (await response.json()) as Answer;
  if (body.awaiting_approval) plans.set(String(action['id']), body.awaiting_approval.plan);
  console.log(
    paint(response.ok ? 'green' : 'yellow', `HTTP ${response.status}${body.code ? ` ${body.code}` : ''}`),
  );
  for (const step of body.steps ?? []) {
    console.log(`  ${summarise([step])}`);
    const { warning } = step;
    if (typeof warning === 'string') console.log(paint('yellow', `    warning: ${warning}`));
    const spare = v.safeParse(v.object({ slices: v.number(), needed: v.number() }), step['spare']);
    if (spare.success) {
      const { slices, needed } = spare.output;
      console.log(paint('dim', `  spare capacity: whole slices that are free ${slices}, needed ${needed}`));
    }
  }
  if (body.awaiting_approval) {
    console.log(`  to approve it, somebody else sends ${JSON.stringify(body.awaiting_approval.approve)}`);
  }
  if (body.error) console.log(`  ${body.error}`);
  const writes = emulator.requests.slice(seen).filter(({ method }) => !['GET', 'HEAD'].includes(method));
  console.log(paint('dim', `  sent to the cluster and to Compute: ${describeWrites(writes)}`));
  if (response.status !== expected) throw new Error(`expected HTTP ${expected}, got ${response.status}`);
  await waitUntil(() => until === undefined || until(cluster), title);
  if (caption) console.log(paint('dim', `  ${caption}`));
  console.log(drawPools(cluster, pools));
  if (verdictOf !== undefined) {
    await waitUntil(() => readVerdict(cluster, verdictOf) !== undefined, `the verdict of ${verdictOf}`);
    const verdict = readVerdict(cluster, verdictOf);
    if (verdict) console.log(paint('green', `  ${verdictOf}: ${describeVerdict(verdict)}`));
  }
}

interface Answer {
  steps?: RecordedStep[];
  awaiting_approval?: { plan: string; approve: object };
  error?: string;
  code?: string;
}

/** An identity token as Cloud Run passes it on: checked, and without its signature. */
function toToken(email: string): string {
  const claims = Buffer.from(JSON.stringify({ email })).toString('base64url');
  return `e30.${claims}.SIGNATURE_REMOVED_BY_GOOGLE`;
}

/** The first machine of a pool stops being Ready. @returns what a person would say of it */
function breakMachine(cluster: EmulatedCluster, pool: string): string {
  const name = cluster.nodes(pool)[0]?.metadata.name ?? '';
  cluster.change('nodes', undefined, name, ({ status }) => {
    for (const condition of status?.conditions ?? []) {
      if (condition.type === 'Ready') condition.status = 'False';
    }
  });
  return `the machine ${name} is not Ready any more`;
}

/** A person lifts cooldown, budget and attempts for a while. */
function insist(cluster: EmulatedCluster): void {
  const until = new Date(Date.now() + 600_000).toISOString();
  cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
  });
}

/** Reads the verdict that a reconcile has written into the record of an action. */
function readVerdict(cluster: EmulatedCluster, id: string): Verdict | undefined {
  const record = cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === id);
  const text = record?.metadata.annotations?.['autometric-failover/verdict'];
  return text === undefined ? undefined : v.parse(verdictSchema, JSON.parse(text));
}

function describeWrites(writes: { method: string; path: string }[]): string {
  const kinds = writes.map(
    ({ method, path }) => `${method} ${/(nodes|pods|jobs|leases|events|instances)/.exec(path)?.[1]}`,
  );
  const counts = Map.groupBy(kinds, (kind) => kind);
  return [...counts].map(([kind, { length }]) => `${length} × ${kind}`).join(', ') || 'nothing';
}

/** The machines and the JobSet need a moment of the emulator's real time. */
async function waitUntil(isSo: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 900; tries++) {
    if (isSo()) return;
    await sleep(100);
  }
  throw new Error(`did not happen: ${what}`);
}

type Node = ReturnType<EmulatedCluster['nodes']>[number];

function isReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

function countPods(cluster: EmulatedCluster, pool: string): number {
  const names = new Set(cluster.nodes(pool).map((node) => node.metadata.name));
  return cluster
    .pods('default')
    .filter(({ spec, status }) => names.has(spec.nodeName ?? '') && status?.phase === 'Running').length;
}

function drawPools(cluster: EmulatedCluster, pools = ['slice-a', 'slice-b']): string {
  const header = ['POOL', 'NODES', 'READY', 'CORDONED', "TRAIN'S PODS"];
  const restarts = String(cluster.jobsets('default')[0]?.status?.restarts ?? 0);
  const rows = pools.map((pool) => {
    const nodes = cluster.nodes(pool);
    const ready = nodes.filter(isReady).length;
    const cordoned = nodes.filter(({ spec }) => spec.unschedulable).length;
    const pods = countPods(cluster, pool);
    return [pool, String(nodes.length), String(ready), String(cordoned), String(pods)];
  });
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: string[]) =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd();
  const run = paint('dim', `  JobSet train runs its attempt ${restarts}`);
  const more = pools.includes('slice-a') ? [run] : pools.map((pool) => paint('dim', drawHost(cluster, pool)));
  return [paint('dim', line(header)), ...rows.map((row) => paintRow(row, line(row))), ...more].join('\n');
}

function drawHost(cluster: EmulatedCluster, pool: string): string {
  const { name = '', labels = {} } = cluster.nodes(pool)[0]?.metadata ?? {};
  return `  ${name} runs on host ${labels['cloud.google.com/gce-topology-host'] ?? 'unknown'}`;
}

function paintRow([, nodes, ready, cordoned]: string[], line: string): string {
  if (ready !== nodes) return paint('red', line);
  return cordoned === '0' ? line : paint('yellow', line);
}
