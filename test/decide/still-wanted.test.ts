import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { Snapshot } from '../../src/decide/snapshot.ts';
import {
  assertRepairStillWanted,
  assertResumeStillWanted,
  assertStillWanted,
  findRecoveredRun,
} from '../../src/decide/still-wanted.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { countLabel, topologyLabel } from '../../src/gke/slice.ts';
import { Ignored } from '../../src/ignored.ts';
import type { Plan, RepairPlan, RestartPlan } from '../../src/plan.ts';
import type { Action } from '../../src/request/action.ts';
import type { Incident } from '../../src/request/incident.ts';
import { withMark } from '../../src/state/cooldown.ts';
import type { CooldownMark, Effect } from '../../src/state/cooldown.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { healthOf, incidentOf, onMachine } from '../fixtures/node-health.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const config = readConfig({ CLUSTERS: trainCluster });
const windowMs = Math.max(config.cooldownSeconds, config.maxAlertAgeSeconds) * 1000;
const began = now - 60_000;
const incident = incidentOf({ startedAt: began });
const slice = { [topologyLabel]: '2x4', [countLabel]: '4' };

/** After everything that happens here. */
const later = Date.parse('2026-12-24T00:00:00Z');
const bad = { isReady: false, readyChangedAt: began };
const back = { readyChangedAt: began + 1 };

function toTools(
  health: NodeHealth[],
  marks: Partial<CooldownMark>[] = [],
  effect: Effect = 'repair',
  kubernetes = {},
) {
  const at = new Date(now - 1000).toISOString();
  const [mark] = marks;
  const whole = { action: 'other', at, instanceId: '100', ...mark };
  const poolAnnotations = mark ? withMark({}, effect, whole) : {};
  return {
    config,
    kubernetes: { serverNow: () => now, ...kubernetes },
    poolAnnotations,
    readHealth: async () => health,
  } as unknown as Parameters<typeof assertStillWanted>[2];
}

const toSnapshot = (nodes: NodeHealth[], namedNode?: NodeHealth) =>
  ({ nodePool: 'pool-a', nodes: { schedulable: nodes, cordoned: [] }, namedNode }) as unknown as Snapshot;

/** @returns why the alert is ignored; undefined where it is to act */
async function whyIgnored(asked: Promise<void>, isOver?: boolean): Promise<string | undefined> {
  try {
    await asked;
    return undefined;
  } catch (error) {
    if (!(error instanceof Ignored)) throw error;
    if (isOver !== undefined) expect(error.isOver).to.equal(isOver);
    return error.message;
  }
}

describe('a repair that another action does', () => {
  const node = (index: number, change: Partial<NodeHealth> = {}) =>
    healthOf(`gke-${index}`, { ...bad, annotations: onMachine(`10${index}`), ...change });
  const ask = (health: NodeHealth[], mark: Partial<CooldownMark> = {}, pool = health) =>
    whyIgnored(assertRepairStillWanted(incident, toSnapshot(pool), toTools(health, [mark])), false);
  const handled = /^handled: the machine of node gke-0 is being repaired by action other since /;

  it('handles an alert about the same machine', async () => {
    expect(await ask([node(0)])).to.match(handled);
    expect(await ask([node(0), node(1, { isReady: true })])).to.match(handled);
    expect(await ask([node(0, { isReady: true })])).to.match(handled);
  });

  it('handles none about another machine, or where several are bad', async () => {
    expect(await ask([node(1)])).to.equal(undefined);
    expect(await ask([node(0), node(1)])).to.equal(undefined);
    expect(await ask([])).to.equal(undefined);
    expect(await ask([node(0, { annotations: {} })], { instanceId: undefined })).to.equal(undefined);
  });

  it('handles none where it has only begun, or is long over', async () => {
    expect(await ask([node(0)], { state: 'begun' })).to.equal(undefined);
    expect(await ask([node(0)], { at: new Date(now - windowMs - 1000).toISOString() })).to.equal(undefined);
    expect(await ask([node(0)], { at: new Date(now - windowMs).toISOString() })).to.match(handled);
  });

  it('handles all of a slice', async () => {
    const all = [node(1, { labels: slice }), node(2, { labels: slice })];
    expect(await ask(all)).to.match(/^handled: the slice of node pool pool-a is being repaired/);
    const mixed = [node(1, { labels: slice }), node(2)];
    expect(await ask(mixed)).to.equal(undefined);
    expect(await ask(all, {}, [])).to.equal(undefined);
  });
});

describe('a repair of a node that has recovered', () => {
  const ask = (...health: NodeHealth[]) =>
    whyIgnored(assertRepairStillWanted(incident, toSnapshot(health), toTools(health)), true);
  const node = (name: string, change: Partial<NodeHealth> = {}) =>
    healthOf(name, { labels: slice, ...change });

  it('is not wanted any more', async () => {
    expect(await ask(node('a', back))).to.match(/^recovered: node a is Ready since/);
    expect(await ask(node('a'))).to.equal(undefined);
    expect(await ask(node('a', bad))).to.equal(undefined);
    expect(await ask()).to.equal(undefined);
  });

  it('looks for it among a slice whose nodes are all healthy', async () => {
    expect(await ask(node('a'), node('b', back))).to.match(/^recovered: node b/);
    expect(await ask(node('a', bad), node('b', back))).to.equal(undefined);
    expect(await ask(node('a', { problems: ['DiskPressure'] }), node('b', back))).to.equal(undefined);
  });

  it('singles out no node among independent ones that are all Ready', async () => {
    const alone = { labels: {} };
    expect(await ask(node('a', alone), node('b', { ...alone, ...back }))).to.equal(undefined);
    expect(await ask(node('a'), node('b', { ...alone, ...back }))).to.equal(undefined);
    expect(await ask(node('a', { ...alone, ...back }))).to.match(/^recovered: node a/);
    const created = { ...alone, ...bad, createdAt: began + 1 };
    expect(await ask(node('a', created), node('b', alone))).to.match(/^recovered: node a was created/);
  });
});

describe('a restart of a run', () => {
  interface Case {
    startedAt?: number;
    named?: NodeHealth;
    about?: Partial<Incident>;
    effects?: Pick<Action['effects'], 'cordon' | 'restart' | 'repair'>;
  }

  async function ask(world: InMemoryWorld, of: Case) {
    const { startedAt = 0, named = healthOf('gke-0', { readyChangedAt: later }), about } = of;
    const { effects = { cordon: true, restart: true, repair: false } } = of;
    const action = {
      namespace: 'default',
      jobSetName: 'train',
      effects,
      incident: incidentOf({ startedAt, ...about }),
    } as unknown as Action;
    const tools = { ...toTools([]), kubernetes: world.kubernetes };
    return whyIgnored(assertStillWanted(action, toSnapshot([], named), tools), true);
  }

  /** When its Jobs were created. */
  function createdAt({ cluster }: InMemoryWorld): number {
    const { metadata } = cluster.get('jobs', 'default', 'train-workers-0') ?? {};
    return Date.parse(String(metadata?.creationTimestamp));
  }

  it('is not wanted once the node is back and the run is younger than the incident', async () => {
    const world = createInMemoryWorld();
    const recovered =
      /^recovered: JobSet default\/train has restarted \(attempt 0\) after the incident began at /;
    expect(await ask(world, { startedAt: createdAt(world) - 1 })).to.match(recovered);
    expect(await ask(world, { startedAt: createdAt(world) })).to.equal(undefined);
    expect(await ask(world, { startedAt: createdAt(world) - 1, named: healthOf('gke-0') })).to.equal(
      undefined,
    );
  });

  it('is not wanted for an incident of the run itself, whatever the nodes', async () => {
    const world = createInMemoryWorld();
    const about = { subject: { kind: 'jobset' } } as const;
    const startedAt = createdAt(world) - 1;
    expect(await ask(world, { startedAt, about, named: healthOf('gke-0') })).to.match(/^recovered: JobSet/);
    const cordon = { cordon: true, restart: false, repair: false };
    expect(await ask(world, { startedAt, about, effects: cordon, named: healthOf('gke-0') })).to.match(
      /^recovered: JobSet/,
    );
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ metadata }) =>
      Object.assign(metadata.labels ?? {}, { 'jobset.sigs.k8s.io/restart-attempt': '7' }),
    );
    expect(await ask(world, { startedAt, about })).to.equal(undefined);
  });

  it('is wanted while a Job of the attempt is older than the incident, or none is there yet', async () => {
    const world = createInMemoryWorld({ jobs: [{ replicas: 2 }] });
    const about = { subject: { kind: 'jobset' } } as const;
    const startedAt = createdAt(world) - 1;
    expect(await ask(world, { startedAt, about })).to.match(/^recovered: JobSet/);
    const newer = new Date(startedAt + 60_000).toISOString();
    world.cluster.change('jobs', 'default', 'train-workers-1', ({ metadata }) =>
      Object.assign(metadata, { creationTimestamp: newer }),
    );
    expect(await ask(world, { startedAt: startedAt + 2_000, about })).to.equal(undefined);
    for (const name of ['train-workers-0', 'train-workers-1']) {
      world.cluster.change('jobs', 'default', name, ({ metadata }) =>
        Object.assign(metadata.labels ?? {}, { 'jobset.sigs.k8s.io/jobset-name': 'other' }),
      );
    }
    expect(await ask(world, { startedAt, about })).to.equal(undefined);
  });

  it('is asked for its node only where it cordons alone', async () => {
    const world = createInMemoryWorld();
    const cordon = { cordon: true, restart: false, repair: false };
    expect(await ask(world, { effects: cordon })).to.match(/^recovered: node gke-0 is Ready since/);
    expect(await ask(world, { effects: { ...cordon, cordon: false } })).to.equal(undefined);
    expect(await ask(world, { effects: cordon, about: { isClosed: true } })).to.equal(undefined);
  });
});

describe('an action that is resumed', () => {
  const repair = { node: { name: 'gke-0' } } as RepairPlan;
  const restart = { jobSet: { namespace: 'default', name: 'train' } } as RestartPlan;

  function ask(
    plan: Partial<Plan>,
    health: NodeHealth[],
    mark: Partial<CooldownMark> | undefined,
    nodeName?: string,
  ) {
    const effect = plan.repair ? 'repair' : 'restart default/train';
    const action = {
      id: 'mine',
      nodeName,
      incident,
      effects: { cordon: true, restart: plan.restart !== undefined, repair: plan.repair !== undefined },
    } as unknown as Action;
    const tools = toTools(health, mark ? [mark] : [], effect);
    return whyIgnored(assertResumeStillWanted(action, toSnapshot(health), plan as Plan, tools));
  }

  const node = (change: Partial<NodeHealth>) =>
    healthOf('gke-0', { annotations: onMachine('100'), ...change });

  it('goes on with its own repair, and not where another action does it', async () => {
    expect(await ask({ repair }, [node(bad)], { action: 'mine' })).to.equal(undefined);
    expect(await ask({ repair }, [node(bad)], {})).to.match(/^handled: /);
    expect(await ask({ repair }, [node(bad)], undefined)).to.equal(undefined);
  });

  it('asks the nodes of a pool, but not the one that was named, which the repair asks itself', async () => {
    expect(await ask({ repair }, [node(back)], undefined)).to.match(/^recovered: node gke-0/);
    expect(await ask({ repair }, [node(back)], undefined, 'gke-0')).to.equal(undefined);
  });

  it('goes on with a restart of its own that was accepted', async () => {
    expect(await ask({ restart }, [node(back)], { action: 'mine' })).to.equal(undefined);
  });

  it('asks whether the run has recovered, but not after its own repair, and needs no Job for a restart not begun', async () => {
    const world = createInMemoryWorld();
    const of = { namespace: 'default', jobSetName: 'train', id: 'mine', nodeName: 'gke-0' };
    const resume = (made: Partial<Plan>, marks: Partial<CooldownMark>[], about: Partial<Incident>) => {
      const effects = {
        cordon: true,
        restart: made.restart !== undefined,
        repair: made.repair !== undefined,
      };
      const action = {
        ...of,
        effects,
        incident: incidentOf({ startedAt: 1, ...about }),
      } as unknown as Action;
      const tools = { ...toTools([node(bad)], marks), kubernetes: world.kubernetes };
      const named = toSnapshot([], healthOf('gke-0', { readyChangedAt: later }));
      return whyIgnored(assertResumeStillWanted(action, named, made as Plan, tools));
    };
    const ofRun = { subject: { kind: 'jobset' } } as const;
    expect(await resume({ repair }, [], ofRun)).to.match(/^recovered: JobSet/);
    expect(await resume({ repair }, [{ action: 'mine' }], ofRun)).to.equal(undefined);
    world.cluster.change('jobs', 'default', 'train-workers-0', ({ metadata }) =>
      Object.assign(metadata.labels ?? {}, { 'jobset.sigs.k8s.io/jobset-name': 'other' }),
    );
    expect(await resume({ restart }, [], {})).to.match(/^recovered: JobSet/);
  });
});

describe('a newer attempt', () => {
  it('has recovered with the node that was named or the pool, not where the named node is gone', async () => {
    const { kubernetes, cluster } = createInMemoryWorld();
    const ask = (nodeName: string | undefined) => {
      const of = {
        namespace: 'default',
        jobSetName: 'train',
        nodeName,
        incident: incidentOf({ startedAt: 1 }),
      };
      return findRecoveredRun(of as unknown as Action, 'slice-a', kubernetes);
    };
    expect(await ask(undefined)).to.match(/^recovered: JobSet/);
    expect(await ask(nodeNames(cluster, 'slice-a')[0])).to.match(/^recovered: JobSet/);
    expect(await ask('gke-gone')).to.equal(undefined);
  });
});
