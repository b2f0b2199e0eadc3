import { expect } from 'chai';
import { parseAction } from '../../src/request/action.ts';
import { readConfig } from '../../src/config.ts';
import { withMark } from '../../src/state/cooldown.ts';
import type { Effect } from '../../src/state/cooldown.ts';
import { assertMayResume, assertWithinLimits, decide, decideDryRun } from '../../src/decide/decide.ts';
import { noteHostRepair } from '../../src/state/host-memory.ts';
import { writeRestartMark } from '../../src/state/restart-mark.ts';
import { updateAnnotations } from '../../src/state/lease.ts';
import { readSwitches } from '../../src/state/switches.ts';
import { readRepairFacts } from '../../src/decide/repair-facts.ts';
import { readSnapshot } from '../../src/decide/snapshot.ts';
import { Ignored } from '../../src/ignored.ts';
import { hostLabel } from '../fixtures/gpu-world.ts';
import { incidentOf } from '../fixtures/node-health.ts';
import { noGkeWork } from '../fixtures/no-gke-work.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const cooldownSeconds = 1800;
const config = readConfig({
  CLUSTERS: trainCluster,
  COOLDOWN_SECONDS: String(cooldownSeconds),
  MAX_POOLS_PER_HOUR: '2',
});
const [clusterName] = config.clusters;

interface Situation {
  /** The pool's poolAnnotations. */
  poolAnnotations?: Record<string, string>;
  isAutopilot?: boolean;
  /** `MAX_ATTEMPTS_PER_DAY`. */
  maxAttemptsPerDay?: number;
}

const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
const repair = { type: 'cordon_and_repair_nodepool' };

async function prepare({ kubernetes }: InMemoryWorld, fields: object, situation: Situation) {
  const { poolAnnotations = {}, isAutopilot = false, maxAttemptsPerDay = 3 } = situation;
  const body = { id: 'mine', requestor: 't', reason: 'r', node_pool: 'slice-a', ...fields };
  const action = parseAction(body, config.clusters, 'generated');
  if (!clusterName) throw new Error('no cluster is configured');
  const cluster = { name: clusterName, isAutopilot };
  const snapshot = await readSnapshot(kubernetes, action, 'slice-a', false);
  const switches = await readSwitches(kubernetes);
  return {
    action,
    snapshot,
    tools: {
      kubernetes,
      config: { ...config, maxAttemptsPerDay },
      cluster,
      claimId: 'uuid',
      poolAnnotations,
      switches,
      maxPools: { count: 2, why: '' },
      repairFacts: await readRepairFacts(kubernetes, action, config, noGkeWork),
      askMachine: async () => undefined,
    },
  };
}

async function decideOn(world: InMemoryWorld, fields: object, situation: Situation = {}) {
  const { action, snapshot, tools } = await prepare(world, fields, situation);
  return decide(action, snapshot, tools);
}

async function decideDry(world: InMemoryWorld, fields: object, situation: Situation = {}) {
  const { action, snapshot, tools } = await prepare(world, fields, situation);
  return decideDryRun(action, snapshot, tools);
}

/** The mark of an effect that another action had so many seconds ago. */
function markedBefore({ clock }: InMemoryWorld, seconds: number, effect: Effect, action = 'theirs') {
  return withMark({}, effect, { action, at: new Date(clock.now() - seconds * 1000).toISOString() });
}

function annotate({ kubernetes }: InMemoryWorld, key: string, value: string) {
  const change = (annotations: Record<string, string>) => ({
    ...annotations,
    [`autometric-failover/${key}`]: value,
  });
  return updateAnnotations(kubernetes, 'cluster', change);
}

/** The budget as two other pools have used it up. */
function useUpBudget(world: InMemoryWorld) {
  const at = new Date(world.clock.now() - 60_000).toISOString();
  return annotate(world, 'pools', JSON.stringify({ x: at, y: at }));
}

describe('decide', () => {
  it('plans what the type asks for, and nothing else', async () => {
    const world = createInMemoryWorld();
    expect(await decideOn(world, { type: 'cordon_nodepool' })).to.deep.equal({ claimId: 'uuid' });
    expect(await decideOn(world, { type: 'uncordon_nodepool' })).to.deep.equal({ claimId: 'uuid' });
    expect(await decideOn(world, restart)).to.have.all.keys('claimId', 'restart');
    for (const type of ['cordon_and_repair_nodepool', 'repair_nodepool']) {
      expect(await decideOn(world, { type })).to.have.all.keys('claimId', 'repair');
    }
    expect(world.emulator.writes()).to.deep.equal([]);
  });

  it('repairs the node that was named', async () => {
    const world = createInMemoryWorld();
    const name = nodeNames(world.cluster, 'slice-a')[2] ?? '';
    const plan = await decideOn(world, { ...repair, node_name: name });
    expect(plan.repair).to.deep.include({ instanceName: name, why: 'the node that was named' });
  });

  // F-58: only a pool was named, and the machine was whichever came first in the list.
  it('repairs the least healthy node of a slice, whichever comes first', async () => {
    const world = createInMemoryWorld();
    const name = nodeNames(world.cluster, 'slice-a')[2] ?? '';
    world.cluster.killNode(name);
    const plan = await decideOn(world, repair);
    expect(plan.repair).to.deep.include({
      instanceName: name,
      why: 'the least healthy node of a multi-host slice: not Ready',
    });
  });

  it('does not choose among independent nodes', async () => {
    const world = createInMemoryWorld({ slices: [], jobSet: null });
    const names = world.cluster.addPool('slice-a', { gpu: true, nodes: 3 });
    expect((await refusalOf(decideOn(world, repair))).code).to.equal('target_ambiguous');
    world.cluster.killNode(names[1] ?? '');
    expect((await decideOn(world, repair)).repair?.instanceName).to.equal(names[1]);
    world.cluster.killNode(names[0] ?? '');
    const refusal = await refusalOf(decideOn(world, repair));
    expect(refusal.message).to.include(`several are not Ready: ${names[0]}, ${names[1]}; name the node_name`);
  });

  it('repairs nothing on Autopilot', async () => {
    const refusal = await refusalOf(decideOn(createInMemoryWorld(), repair, { isAutopilot: true }));
    expect(refusal).to.include({ code: 'repair_refused', status: 409 });
  });

  it('plans no cordon when the restart is refused', async () => {
    const world = createInMemoryWorld({ jobSet: { suspend: true } });
    expect((await refusalOf(decideOn(world, restart))).code).to.equal('restart_refused');
  });

  describe('with expected_node_counts', () => {
    const checked = { type: 'cordon_nodepool', preflight_checks: { expected_node_counts: true } };

    it('passes when the slice is complete, cordoned nodes included', async () => {
      const world = createInMemoryWorld();
      world.cluster.cordonAs('kubectl', nodeNames(world.cluster, 'slice-a')[0] ?? '', true);
      expect(await decideOn(world, checked)).to.deep.equal({ claimId: 'uuid' });
    });

    it('refuses when nodes are missing or too many, but only if the check was asked for', async () => {
      const missing = createInMemoryWorld();
      missing.cluster.removeNode(nodeNames(missing.cluster, 'slice-a')[0] ?? '');
      const excess = createInMemoryWorld();
      excess.cluster.joinNode('slice-a');
      for (const [world, count] of [
        [missing, 3],
        [excess, 5],
      ] as const) {
        const refusal = await refusalOf(decideOn(world, checked));
        expect(refusal).to.include({ code: 'preflight_refused', status: 409 });
        expect(refusal.message).to.equal(
          `expected_node_counts: node pool slice-a has ${count} nodes, but its TPU topology 4x4 needs 4`,
        );
        await decideOn(world, { type: 'cordon_nodepool' });
      }
    });

    it('refuses when the check cannot be made', async () => {
      const world = createInMemoryWorld({ slices: [], jobSet: null });
      world.cluster.addPool('slice-a', { gpu: true });
      expect((await refusalOf(decideOn(world, checked))).message).to.match(
        /not applicable to node pool slice-a/,
      );
    });
  });

  describe('within a cooldown', () => {
    // F-27: cordon_and_repair_nodepool, and repair_nodepool a minute later: one repair.
    for (const type of ['cordon_and_repair_nodepool', 'repair_nodepool']) {
      it(`refuses ${type} of a repaired pool until the last second of the cooldown`, async () => {
        const world = createInMemoryWorld();
        const poolAnnotations = markedBefore(world, cooldownSeconds - 1, 'repair');
        const refusal = await refusalOf(decideOn(world, { type }, { poolAnnotations }));
        expect(refusal).to.include({ code: 'rate_limited', status: 429 });
        expect(refusal.headers).to.deep.equal({ 'Retry-After': '1' });
        expect(refusal.message).to.match(
          /^action is currently rate limited: repair of node pool slice-a was done at /,
        );
        expect(refusal.message).to.include('kubectl annotate lease cluster -n autometric-failover-system');
        await decideOn(world, { type }, { poolAnnotations: markedBefore(world, cooldownSeconds, 'repair') });
      });
    }

    it('refuses to restart a JobSet that was restarted from this pool, and no other JobSet', async () => {
      const world = createInMemoryWorld();
      const poolAnnotations = markedBefore(world, cooldownSeconds - 1, 'restart default/train');
      expect((await refusalOf(decideOn(world, restart, { poolAnnotations }))).code).to.equal('rate_limited');
      for (const other of ['restart default/other', 'restart research/train', 'repair'] as const) {
        await decideOn(world, restart, { poolAnnotations: markedBefore(world, 1, other) });
      }
      await decideOn(world, restart, {
        poolAnnotations: markedBefore(world, cooldownSeconds, 'restart default/train'),
      });
    });

    it('refuses neither a cordon nor an uncordon', async () => {
      const world = createInMemoryWorld();
      const poolAnnotations = withMark(markedBefore(world, 1, 'repair'), 'restart default/train', {
        action: 'x',
        at: new Date(world.clock.now()).toISOString(),
      });
      await decideOn(world, { type: 'cordon_nodepool' }, { poolAnnotations });
      await decideOn(world, { type: 'uncordon_nodepool' }, { poolAnnotations });
    });

    it('does not refuse an action because of its own mark', async () => {
      const world = createInMemoryWorld();
      await decideOn(world, repair, { poolAnnotations: markedBefore(world, 1, 'repair', 'mine') });
    });

    it('refuses when the marks cannot be read, and says how to reset them', async () => {
      const world = createInMemoryWorld();
      for (const broken of ['{"repair":', '"x"', 'null', '[]', '{"repair":{}}', '{"repair":"x"}']) {
        const poolAnnotations = { 'autometric-failover/effects': broken };
        const refusal = await refusalOf(decideOn(world, repair, { poolAnnotations }));
        expect(refusal.code, broken).to.equal('rate_limited');
        expect(refusal.message, broken).to.match(/kubectl annotate lease/);
      }
    });
  });

  describe('after as many attempts within a day as are allowed', () => {
    const maxAttemptsPerDay = 1;

    it('refuses a repair, and neither a cordon nor a restart', async () => {
      const world = createInMemoryWorld();
      const poolAnnotations = markedBefore(world, cooldownSeconds, 'repair');
      const situation = { poolAnnotations, maxAttemptsPerDay };
      expect((await refusalOf(decideOn(world, repair, situation))).code).to.equal('attempts_exhausted');
      await decideOn(world, { type: 'cordon_nodepool' }, situation);
      await decideOn(world, restart, situation);
    });

    it('refuses a restart before the pool is cordoned', async () => {
      const world = createInMemoryWorld();
      const { uid: jobSetUid = '' } = world.cluster.get('jobsets', 'default', 'train')?.metadata ?? {};
      const at = new Date(world.clock.now() - 3_600_000).toISOString();
      const mark = {
        action: 'theirs',
        jobSetUid,
        attempt: 0,
        jobUid: 'gone',
        at,
        state: 'accepted',
      } as const;
      await writeRestartMark(world.kubernetes, { namespace: 'default', name: 'train' }, mark, undefined);
      await decideOn(world, restart, { maxAttemptsPerDay: 2 });
      const refusal = await refusalOf(decideOn(world, restart, { maxAttemptsPerDay }));
      expect(refusal.code).to.equal('attempts_exhausted');
      await decideOn(world, repair, { maxAttemptsPerDay });
    });
  });

  it('carries on what it has begun, though other pools have failed since', async () => {
    const world = createInMemoryWorld();
    const now = world.clock.now();
    const verdicts = ['1', '2'].map((id) => ({
      id,
      at: now - 60_000,
      nodePool: `pool-${id}`,
      verdict: 'not_recovered' as const,
      hasHelped: false,
      jobSet: undefined,
      zone: 'us-central1-a',
    }));
    const ask = async (poolAnnotations: Record<string, string>) => {
      const { action, snapshot, tools } = await prepare(world, repair, { poolAnnotations });
      await assertWithinLimits(action, snapshot, { ...tools, correlation: { verdicts, nodes: [] } });
    };
    expect(await refusalOf(ask({}))).to.include({ code: 'correlated_failure' });
    const at = new Date(now).toISOString();
    await ask(withMark({}, 'repair', { action: 'mine', at, state: 'begun' }));
  });

  describe('with a restart that repairs its pool in place', () => {
    const inPlace = { ...restart, when_no_spare: 'repair' };
    const create = () => createInMemoryWorld({ slices: ['slice-a'] });

    it('holds it against the limits of a repair, too', async () => {
      const world = create();
      expect(await decideOn(world, inPlace)).to.have.all.keys('claimId', 'restart', 'repair');
      const poolAnnotations = markedBefore(world, 1, 'repair');
      const refusal = await refusalOf(decideOn(world, inPlace, { poolAnnotations }));
      expect(refusal.code).to.equal('rate_limited');
      expect(refusal.message).to.include('repair of node pool slice-a was done at');
      expect((await decideDry(world, inPlace, { poolAnnotations })).limits[0]).to.include({
        code: 'rate_limited',
      });
    });

    // F-303, where the node was healthy again when the action was resumed.
    it('goes on with it for an alert once the run is ended, though the pool is back', async () => {
      const world = create();
      const plan = await decideOn(world, inPlace);
      const resume = async (poolAnnotations: Record<string, string>) => {
        const { action, snapshot, tools } = await prepare(world, inPlace, { poolAnnotations });
        // All nodes became Ready after it began.
        await assertMayResume({ ...action, incident: incidentOf() }, snapshot, plan, tools);
      };
      const stopped: unknown = await resume({}).catch((thrown: unknown) => thrown);
      expect(stopped).to.be.instanceOf(Ignored);
      const at = new Date(world.clock.now()).toISOString();
      await resume(withMark({}, 'restart default/train', { action: 'mine', at, state: 'begun' }));
    });
  });

  it('tells what was done to the host of the machine before', async () => {
    const world = createInMemoryWorld({ slices: [], jobSet: null });
    const [name = ''] = world.cluster.addPool('slice-a', { gpu: true, nodes: 2 });
    const host = world.cluster.get('nodes', undefined, name)?.metadata.labels?.[hostLabel] ?? '';
    const at = new Date(world.clock.now()).toISOString();
    await noteHostRepair(world.kubernetes, host, { action: 'theirs', at, way: 'delete', node: name });
    const fields = { type: 'repair_nodepool', node_name: name };
    const { repair: planned } = await decideOn(world, fields);
    expect(planned?.warning).to.match(/this is fault 2 of host \w+, .*: a deletion may draw the host again/);
  });

  it('refuses one pool too many within the hour, but not a pool that was counted already', async () => {
    const world = createInMemoryWorld();
    await useUpBudget(world);
    expect((await refusalOf(decideOn(world, { type: 'cordon_nodepool' }))).code).to.equal('budget_exceeded');
    const at = new Date(world.clock.now()).toISOString();
    await annotate(world, 'pools', JSON.stringify({ x: at, 'slice-a': at }));
    await decideOn(world, { type: 'cordon_nodepool' });
  });

  it('allows an uncordon whatever the limits are', async () => {
    const world = createInMemoryWorld();
    await useUpBudget(world);
    await annotate(world, 'paused', 'x');
    await decideOn(world, { type: 'uncordon_nodepool' });
  });

  it('refuses everything else while the cluster is paused, before it checks anything else', async () => {
    const world = createInMemoryWorld();
    await useUpBudget(world);
    await annotate(world, 'paused', 'the storage is down');
    await annotate(world, 'override-until', new Date(world.clock.now() + 60_000).toISOString());
    const before = world.emulator.requests.length;
    for (const fields of [restart, repair, { type: 'cordon_nodepool' }, { type: 'repair_nodepool' }]) {
      expect((await refusalOf(decideOn(world, fields))).code).to.equal('paused');
    }
    // What runs on the pool is read with the snapshot, before the decision.
    const isWithSnapshot = ({ query }: { query: Record<string, string> }) =>
      query['labelSelector'] === 'jobset.sigs.k8s.io/jobset-name';
    const lists = world.emulator.requests
      .slice(before)
      .filter((request) => /pods|jobs$/.test(request.path) && !isWithSnapshot(request));
    expect(lists).to.deep.equal([]);
  });

  it('lets an override lift cooldown and budget, and no refusal', async () => {
    const world = createInMemoryWorld({ jobSet: { suspend: true } });
    await useUpBudget(world);
    await annotate(world, 'override-until', new Date(world.clock.now() + 60_000).toISOString());
    const poolAnnotations = markedBefore(world, 1, 'repair');
    await decideOn(world, repair, { poolAnnotations });
    expect((await refusalOf(decideOn(world, restart, { poolAnnotations }))).code).to.equal('restart_refused');
  });
});

describe('decideDryRun', () => {
  // F-15: a dry run used up the rate limit, or the rate limit refused it.
  it('reports a limit and goes on', async () => {
    const world = createInMemoryWorld();
    const limited = await decideDry(world, repair, { poolAnnotations: markedBefore(world, 60, 'repair') });
    expect(limited.plan.repair).not.to.equal(undefined);
    expect(limited.limits).to.have.length(1);
    expect(limited.limits[0]).to.include({
      step: 'limits',
      target: 'slice-a',
      outcome: 'would_refuse',
      code: 'rate_limited',
    });
    await useUpBudget(world);
    expect((await decideDry(world, repair)).limits[0]).to.include({ code: 'budget_exceeded' });
    await annotate(world, 'paused', 'x');
    expect((await decideDry(world, repair)).limits[0]).to.include({ code: 'paused' });
    expect((await decideDry(world, { type: 'uncordon_nodepool' })).limits).to.deep.equal([]);
  });

  it('refuses what waiting would not change', async () => {
    const world = createInMemoryWorld({ jobSet: { suspend: true } });
    expect((await refusalOf(decideDry(world, restart))).code).to.equal('restart_refused');
  });
});
