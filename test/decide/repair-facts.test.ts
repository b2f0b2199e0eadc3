import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { assertClaimedOnce, describeImpact, readRepairFacts } from '../../src/decide/repair-facts.ts';
import { planRepair } from '../../src/decide/repair-plan.ts';
import type { RepairPlan } from '../../src/plan.ts';
import { parseAction } from '../../src/request/action.ts';
import { listPoolHealth, readNodeHealth } from '../../src/gke/nodes.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { noGkeWork } from '../fixtures/no-gke-work.ts';
import { createVirtualWorld } from '../fixtures/faulted-world.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const idAnnotation = 'container.googleapis.com/instance_id';
const repair = { type: 'repair_nodepool', node_pool: 'slice-a' };

describe('what a repair says about what runs there', () => {
  // F-96: a repair deleted a healthy slice under a run, and neither the dry run nor the answer mentioned the run.
  it('is the JobSets on a slice with their live pods, and a warning while all nodes look healthy', async () => {
    for (const isDryRun of [true, false]) {
      const world = new VirtualFailover();
      const answer = await world.send({ ...repair, dry_run: isDryRun });
      expect(answer.steps.at(-1)).to.deep.include({
        step: 'repair',
        outcome: isDryRun ? 'would_delete' : 'deletion_accepted',
        runs_here: { 'default/train': 4 },
        warning:
          'all 4 nodes look healthy, and the repair ends what runs here: JobSet default/train (4 live pods)',
      });
      expect(world.emulator.fleet.deletions).to.have.length(isDryRun ? 0 : 1);
    }
  });

  it('has no warning while a node of the slice is not Ready', async () => {
    const world = new VirtualFailover();
    world.cluster.killNode(nodeNames(world.cluster, 'slice-a')[1] ?? '');
    const { steps } = await world.send({ ...repair, dry_run: true });
    expect(steps.at(-1)).to.deep.include({ runs_here: { 'default/train': 4 } });
    expect(steps.at(-1)).not.to.have.property('warning');
  });

  it('is empty where no JobSet runs', async () => {
    const world = new VirtualFailover();
    const { steps } = await world.send({ ...repair, node_pool: 'slice-b', dry_run: true });
    expect(steps.at(-1)).to.deep.include({ runs_here: {}, warning: 'all 4 nodes look healthy' });
  });

  it('is the same in the answer of a resume, as it was decided', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ api: 'compute', times: 5, effect: { status: 503 } });
    const action = { ...repair, id: 'incident-1' };
    expect((await world.send(action)).status).to.equal(502);
    const { steps } = await world.send(action);
    expect(steps.at(-1)).to.deep.include({
      outcome: 'deletion_accepted',
      runs_here: { 'default/train': 4 },
    });
  });

  it('costs no round trip: the reads are at the same time as others', async () => {
    for (const [isNamed, isDryRun, rounds] of [
      [false, true, 2],
      [false, false, 8],
      [true, true, 3],
      [true, false, 9],
    ] as const) {
      const world = new VirtualFailover();
      const [name = ''] = nodeNames(world.cluster, 'slice-a');
      const startedAt = world.time.now;
      const target = isNamed ? { node_pool: undefined, node_name: name } : {};
      await world.send({ ...repair, ...target, dry_run: isDryRun });
      // A request takes 5 ms there and 5 ms back.
      expect((world.time.now - startedAt) / 10).to.equal(rounds);
    }
  });

  for (const [what, effect, longest] of [
    ['are refused', { status: 403 }, 1_000],
    ['never come', 'hang', 7_000],
    ['fail', { status: 503 }, 7_000],
  ] as const) {
    it(`is left open for a namespace whose pods ${what}, and the repair goes on within seconds`, async () => {
      const world = await createVirtualWorld({ action: 'repair' });
      const lift = world.emulator.faults.add({
        path: /\/namespaces\/default\/pods/,
        times: Infinity,
        effect,
      });
      const { body, tookMs } = await world.send();
      lift();
      expect(world.emulator.fleet.deletions).to.have.length(1);
      const repaired = body.steps?.at(-1);
      expect(repaired).to.deep.include({ step: 'repair', outcome: 'deletion_accepted', runs_here: {} });
      expect(repaired?.['warning']).to.match(
        /^all 4 nodes look healthy; what runs here is not known for namespace default \(the (Kubernetes API|action) /,
      );
      expect(tookMs).to.be.below(longest);
    });
  }
});

describe('describeImpact', () => {
  let world: InMemoryWorld;

  beforeEach(() => (world = createInMemoryWorld()));

  it('counts only live pods that stay, of the allowed namespaces', async () => {
    const [, terminating, finished] = world.cluster.pods('default');
    world.cluster.change('pods', 'default', terminating?.metadata.name ?? '', ({ metadata }) => {
      metadata.deletionTimestamp = '2026-11-23T03:00:00Z';
    });
    world.cluster.change('pods', 'default', finished?.metadata.name ?? '', ({ status }) => {
      status.phase = 'Succeeded';
    });
    expect((await impactOn('slice-a')).runsHere).to.deep.equal({ 'default/train': 2 });
    const namespaces = { ALLOWED_NAMESPACES: 'research' };
    expect((await impactOn('slice-a', undefined, namespaces)).runsHere).to.deep.equal({});
  });

  it('counts the JobSets of each namespace apart', async () => {
    world.cluster.addNamespace('research');
    world.cluster.addTpuSlice('slice-c', { topology: '4x4' });
    world.cluster.addJobSet({
      name: 'train',
      namespace: 'research',
      replicatedJobs: [
        { name: 'w', parallelism: 3, nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-c' } },
      ],
    });
    world.emulator.settle();
    const namespaces = { ALLOWED_NAMESPACES: 'default,research' };
    expect((await impactOn('slice-c', undefined, namespaces)).runsHere).to.deep.equal({
      'research/train': 3,
    });
    expect((await impactOn('slice-a', undefined, namespaces)).runsHere).to.deep.equal({ 'default/train': 4 });
  });

  it('counts the pods of the one machine that is replaced, among independent machines', async () => {
    const names = world.cluster.addPool('gpus', { gpu: true, nodes: 3 });
    world.cluster.addJobSet({
      name: 'serve',
      replicatedJobs: [
        {
          name: 'w',
          parallelism: 3,
          nodeSelector: { 'cloud.google.com/gke-nodepool': 'gpus' },
          resources: { 'nvidia.com/gpu': 8 },
        },
      ],
    });
    world.emulator.settle();
    const perNode = names.map(
      (name) => world.cluster.pods('default').filter(({ spec }) => spec.nodeName === name).length,
    );
    expect(perNode.reduce((sum, count) => sum + count)).to.equal(3);
    const at = perNode.findIndex((count) => count > 0);
    const count = perNode[at] ?? 0;
    const { runsHere, warning } = await impactOn('gpus', names[at]);
    expect(runsHere).to.deep.equal({ 'default/serve': count });
    expect(warning).to.equal(
      `node ${names[at]} looks healthy, and the repair ends what runs here: JobSet default/serve ` +
        `(${count} live ${count === 1 ? 'pod' : 'pods'})`,
    );
  });

  for (const [what, change] of [
    ['is not Ready', { isReady: false }],
    ['is about to be terminated', { taintKeys: ['cloud.google.com/impending-node-termination'] }],
    ['has a problem', { problems: ['DiskPressure'] }],
  ] as [string, Partial<NodeHealth>][]) {
    it(`has no warning while a node ${what}`, async () => {
      const health = await listPoolHealth(world.kubernetes, 'slice-a');
      const [bad, ...others] = health;
      if (!bad) throw new Error('the pool has no nodes');
      const known = { pods: [], unread: [], poolNodes: [] };
      const plan = planOn(health);
      expect(describeImpact(plan, [...others, { ...bad, ...change }], known)).to.deep.equal({ runsHere: {} });
      expect(describeImpact(plan, health, known).warning).to.equal('all 4 nodes look healthy');
    });
  }

  it('names what runs here in the order of the alphabet', async () => {
    const health = await listPoolHealth(world.kubernetes, 'slice-a');
    const [first] = health;
    const pods = ['c', 'a', 'b'].map((jobSet) => ({ jobSet, nodeName: first?.name ?? '' }));
    const { warning } = describeImpact(planOn(health), health, {
      pods,
      unread: [],
      poolNodes: pods.map(({ nodeName }) => nodeName),
    });
    expect(warning).to.match(/: JobSet a \(1 live pod\), JobSet b \(1 live pod\), JobSet c \(1 live pod\)$/);
  });

  it('refuses no machine that no node says is its own by now', async () => {
    assertClaimedOnce(planOn(await listPoolHealth(world.kubernetes, 'slice-a')), {
      nodesOfMachine: new Map(),
    });
  });

  async function impactOn(pool: string, nodeName?: string, environment: Record<string, string> = {}) {
    const { kubernetes } = world;
    const facts = await readFacts(world, environment);
    const named = nodeName === undefined ? undefined : await readNodeHealth(kubernetes, nodeName);
    const health = named ? [named] : await listPoolHealth(kubernetes, pool);
    const poolNodes = nodeNames(world.cluster, pool);
    return describeImpact(planOn(health, pool, nodeName), health, { ...facts, poolNodes });
  }
});

// F-95: a node's annotation had the id of a machine of another pool, and that machine was deleted.
describe('a machine that two nodes say is theirs', () => {
  for (const [what, toBody] of [
    ['a pool', () => ({})],
    ['the node', (name: string) => ({ node_name: name })],
  ] as const) {
    it(`is not repaired, whichever of the two pools the liar is in, if ${what} is named`, async () => {
      for (const [liarPool, victimPool] of [
        ['slice-a', 'slice-b'],
        ['slice-b', 'slice-a'],
        ['slice-a', 'slice-a'],
      ] as const) {
        const world = new VirtualFailover();
        const liar = nodeNames(world.cluster, liarPool)[0] ?? '';
        const victim = nodeNames(world.cluster, victimPool)[1] ?? '';
        const { id } = world.emulator.fleet.list().find(({ name }) => name === victim) ?? {};
        world.cluster.change('nodes', undefined, liar, ({ metadata }) => {
          metadata.annotations = { ...metadata.annotations, [idAnnotation]: id ?? '' };
        });
        world.cluster.killNode(liar);
        for (const isDryRun of [true, false]) {
          const body = { ...repair, node_pool: liarPool, ...toBody(liar), dry_run: isDryRun };
          const answer = await world.send({ ...body, id: `of-${isDryRun}` });
          expect(answer).to.include({ status: 409, code: 'repair_refused' });
          expect(answer.error).to.equal(
            `node ${liar} says that its machine is ${id}, and so does ${victim}; one of them has a wrong annotation ` +
              `${idAnnotation}: look at who can write it`,
          );
        }
        const sent = world.emulator.requests.filter(({ api }) => api === 'compute');
        expect(sent).to.deep.equal([]);
      }
    });
  }

  it('is looked for on every page of a large cluster', async () => {
    const world = createInMemoryWorld();
    world.cluster.addPool('many', { nodes: 700 });
    const [first = ''] = nodeNames(world.cluster, 'slice-a');
    const last = nodeNames(world.cluster, 'many').at(-1) ?? '';
    const before = await readFacts(world);
    const plan = planOn(await listPoolHealth(world.kubernetes, 'slice-a'));
    expect(plan.node.name).to.equal(first);
    assertClaimedOnce(plan, before);
    world.cluster.change('nodes', undefined, last, ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, [idAnnotation]: plan.instanceId ?? '' };
    });
    const facts = await readFacts(world);
    const refusal = await refusalOf((async () => assertClaimedOnce(plan, facts))());
    expect(refusal).to.include({ code: 'repair_refused' });
    expect(refusal.message).to.include(last);
  });

  it('is not decided while the nodes cannot be listed', async () => {
    const world = new VirtualFailover();
    const isWholeList = ({ query }: { query: Record<string, string> }) =>
      query['labelSelector'] === undefined;
    const path = /\/api\/v1\/nodes(\?|$)/;
    world.emulator.faults.add({ path, match: isWholeList, times: Infinity, effect: { status: 500 } });
    expect(await world.send(repair)).to.include({ status: 502, code: 'upstream_failed' });
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });
});

async function readFacts({ kubernetes }: InMemoryWorld, environment: Record<string, string> = {}) {
  const config = readConfig({ CLUSTERS: trainCluster, ...environment });
  const action = parseAction({ ...repair, requestor: 't', reason: 'r' }, config.clusters, 'id');
  const facts = await readRepairFacts(kubernetes, action, config, noGkeWork);
  if (!facts) throw new Error('a repair has facts');
  return facts;
}

function planOn(health: NodeHealth[], nodePool = 'slice-a', nodeName?: string): RepairPlan {
  const [cluster] = readConfig({ CLUSTERS: trainCluster }).clusters;
  if (!cluster) throw new Error('no cluster is configured');
  return planRepair(health, { nodePool, nodeName, cluster, isAutopilot: false });
}
