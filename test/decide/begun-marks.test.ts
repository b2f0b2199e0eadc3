import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { assertSameAsBegun, findBegunNode } from '../../src/decide/begun-marks.ts';
import type { Snapshot } from '../../src/decide/snapshot.ts';
import type { NodeRef } from '../../src/gke/nodes.ts';
import { listPool } from '../../src/gke/nodes.ts';
import { repairAnnotation } from '../../src/names.ts';
import type { Plan, RepairPlan, RestartPlan } from '../../src/plan.ts';
import type { Action } from '../../src/request/action.ts';
import { withMark } from '../../src/state/cooldown.ts';
import type { CooldownMark, Effect } from '../../src/state/cooldown.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { healthOf, incidentOf, onMachine } from '../fixtures/node-health.ts';
import { refusal } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const config = readConfig({ CLUSTERS: trainCluster });
const cooldownMs = config.cooldownSeconds * 1000;
const restartOfTrain = 'restart default/train';

interface Case {
  mark?: Partial<CooldownMark>;
  effect?: Effect;
  nodes?: NodeRef[];
  repair?: Partial<RepairPlan>;
  restart?: Partial<RestartPlan>;
  isAlert?: boolean;
  isLifted?: boolean;
}

const toTools = ({ mark = {}, effect = 'repair', isLifted = false }: Case) =>
  ({
    config,
    poolAnnotations: withMark({}, effect, {
      action: 'other',
      at: new Date(now - 60_000).toISOString(),
      state: 'begun',
      ...mark,
    }),
    switches: { serverNow: now, overrideUntil: isLifted ? now + 1 : undefined },
  }) as unknown as Parameters<typeof assertSameAsBegun>[3];

function ask(of: Case): void {
  const { nodes = [], repair, restart, isAlert = false } = of;
  const action = { id: 'mine', ...(isAlert && { incident: incidentOf() }) } as unknown as Action;
  const snapshot = {
    nodePool: 'slice-a',
    nodes: { schedulable: nodes, cordoned: [] },
  } as unknown as Snapshot;
  assertSameAsBegun(action, snapshot, { repair, restart } as Plan, toTools(of));
}

function refused(of: Case): string {
  const { code, message } = refusal(() => ask(of));
  return `${code}: ${message}`;
}

const machine = { instanceId: '100' };
const its = (change: Partial<NodeRef> = {}) =>
  healthOf('gke-0', { annotations: onMachine('100'), ...change });

describe('a repair, where another action has begun one', () => {
  it('goes on with the same machine', () => {
    ask({ mark: machine, nodes: [its()], repair: machine });
    ask({ mark: machine, repair: machine });
  });

  it('is refused for another machine, while the first one is there or is not known', () => {
    const other = { instanceId: '200' };
    const unsure =
      /^action_in_progress: the repair of node pool slice-a was begun at .* by action other, and it is not known/;
    expect(refused({ mark: machine, nodes: [its()], repair: other })).to.match(unsure);
    expect(refused({ repair: other })).to.match(unsure);
    expect(refused({ repair: {} })).to.match(unsure);
    expect(refused({ mark: machine, repair: other })).to.match(
      /^rate_limited: .*repair of node pool slice-a was begun .* the machine has been replaced since/,
    );
  });

  it('is refused in another way', () => {
    expect(refused({ mark: machine, nodes: [its()], repair: { ...machine, way: 'reboot' } })).to.match(
      /^action_in_progress: /,
    );
    ask({ mark: { ...machine, way: 'reboot' }, nodes: [its()], repair: { ...machine, way: 'reboot' } });
  });

  it('knows no machine where neither mark nor node tells one', () => {
    const nodes = [healthOf('gke-0', { annotations: { [repairAnnotation]: 'other' } })];
    expect(refused({ mark: { way: 'reboot' }, nodes, repair: { way: 'reboot' } })).to.match(
      /^action_in_progress: /,
    );
  });

  it('is refused where the label was set by that action, though GKE has taken it away', () => {
    const mark = { ...machine, way: 'reboot' } as const;
    const asked = (action: string, instanceId = '100') =>
      healthOf('gke-0', { annotations: { ...onMachine(instanceId), [repairAnnotation]: action } });
    const repair = { ...machine, way: 'reboot' } as const;
    expect(refused({ mark, nodes: [asked('other')], repair })).to.match(
      /^rate_limited: .*repair of node pool slice-a \(reboot\) was done at .* by action other/,
    );
    ask({ mark, nodes: [asked('earlier')], repair });
    ask({ mark, nodes: [asked('other', '300')], repair });
    ask({ mark: machine, nodes: [asked('other')], repair: machine });
  });

  const elsewhere = { repair: { instanceId: '200' }, nodes: [its()] };
  it('is free where the mark is its own, is accepted, or is older than the cooldown', () => {
    ask({ ...elsewhere, mark: { ...machine, action: 'mine' } });
    ask({ ...elsewhere, mark: { ...machine, state: 'accepted' } });
    ask({ ...elsewhere, mark: { ...machine, at: new Date(now - cooldownMs).toISOString() } });
    const young = new Date(now - cooldownMs + 1000).toISOString();
    expect(refused({ ...elsewhere, mark: { ...machine, at: young } })).to.match(/^action_in_progress/);
    ask({ ...elsewhere, mark: machine, effect: restartOfTrain });
  });

  it('is free where a person has lifted the limits, but not for an alert', () => {
    ask({ ...elsewhere, mark: machine, isLifted: true });
    expect(refused({ ...elsewhere, mark: machine, isLifted: true, isAlert: true })).to.match(/^action_in/);
  });
});

describe('a restart, where another action has begun one', () => {
  const restart: Partial<RestartPlan> = {
    outcome: 'restart',
    jobSet: { namespace: 'default', name: 'train', uid: 'js' },
    attempt: 1,
    job: { name: 'j', uid: 'job-1', replicatedJob: 'workers' },
  };
  const mark = { jobSetUid: 'js', attempt: 1 };
  const of = (change: Partial<CooldownMark>, plan = restart): Case => ({
    mark: { ...mark, ...change },
    effect: restartOfTrain,
    restart: plan,
  });

  it('goes on with the same attempt and the same Jobs', () => {
    ask(of({}));
    ask(of({ jobUid: 'job-1' }));
    const jobs = ['job-0', 'job-1'].map((uid) => ({ name: uid, uid }));
    ask(of({ jobUid: 'job-0' }, { ...restart, jobs }));
  });

  it('is refused for another attempt, JobSet or Job', () => {
    const since =
      /^rate_limited: .*restart default\/train of node pool slice-a was begun .*, and the JobSet has restarted since/;
    expect(refused(of({ attempt: 0 }))).to.match(since);
    expect(refused(of({ jobSetUid: 'older' }))).to.match(since);
    expect(refused(of({ jobUid: 'job-2' }))).to.match(since);
    const { job: _, ...without } = restart;
    expect(refused(of({ jobUid: 'job-1' }, without))).to.match(since);
  });

  it('is free where it does nothing, or the mark is that of a repair', () => {
    ask(of({ attempt: 0 }, { ...restart, outcome: 'already_restarting' }));
    ask({ ...of({ attempt: 0 }), effect: 'repair' });
  });
});

describe('findBegunNode', () => {
  async function find(
    of: Case,
    {
      id = 'mine',
      repair = undefined as Action['repair'],
      change = (nodes: NodeRef[]): NodeRef[] => nodes,
    } = {},
  ) {
    const { kubernetes, cluster } = createInMemoryWorld();
    const nodes = await listPool(kubernetes, 'slice-a');
    const [, second] = nodes;
    if (!second) throw new Error('the slice has no nodes');
    const instanceId = second.annotations['container.googleapis.com/instance_id'];
    const mark = { instanceId, ...of.mark };
    const [cordoned, ...schedulable] = change(nodes);
    const snapshot = { nodes: { schedulable, cordoned: [cordoned] } } as unknown as Snapshot;
    const tools = { ...toTools({ ...of, mark }), kubernetes };
    const found = await findBegunNode({ id, repair } as unknown as Action, snapshot, tools);
    expect(cluster.get('nodes', undefined, second.name)).not.to.equal(undefined);
    return found && { ...found, isSecond: found.node.name === second.name };
  }

  it('finds the node of the slice whose machine another action has begun to repair', async () => {
    expect(await find({})).to.include({
      isSecond: true,
      why: 'the machine of the slice whose repair action other has begun',
    });
  });

  it('finds none that is its own, is repaired in another way, or has gone', async () => {
    expect(await find({}, { id: 'other' })).to.equal(undefined);
    expect(await find({}, { repair: 'reboot' })).to.equal(undefined);
    expect(await find({ mark: { instanceId: '1' } })).to.equal(undefined);
  });

  it('finds none in a pool where a node stands by itself', async () => {
    const change = ([first, ...rest]: NodeRef[]) => (first ? [{ ...first, labels: {} }, ...rest] : rest);
    expect(await find({}, { change })).to.equal(undefined);
  });
});
