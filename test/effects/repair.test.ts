import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { readMark } from '../../src/state/cooldown.ts';
import { FailoverError } from '../../src/errors.ts';
import { failoverNamespace } from '../../src/names.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import { listPoolHealth } from '../../src/gke/nodes.ts';
import { planRepair } from '../../src/decide/repair-plan.ts';
import { toRequestId } from '../../src/effects/delete-machine.ts';
import { repairInstance } from '../../src/effects/repair.ts';
import { createLog } from '../../src/log.ts';
import type { RepairPlan } from '../../src/plan.ts';
import type { RepairStep, Step } from '../../src/step.ts';
import type { HttpRequest } from '../../src/gke/transport.ts';
import type { Instance } from '../emulator/fleet.ts';
import type { Node } from '../emulator/objects.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { createInMemoryCompute } from '../fixtures/in-memory-compute.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const [cluster] = readConfig({ CLUSTERS: trainCluster }).clusters;
const instancePath = /\/instances\//;
const faultLabel = 'cloud.google.com/fault-behavior';
const rebootLabel = 'cloud.google.com/perform-reboot';

async function plan({ kubernetes }: InMemoryWorld): Promise<RepairPlan> {
  if (!cluster) throw new Error('no cluster is configured');
  const target = { nodePool: 'slice-a', nodeName: undefined, cluster, isAutopilot: false };
  return planRepair(await listPoolHealth(kubernetes, 'slice-a'), target);
}

/** A plan for a node that does not say its machine's id. */
async function planByName(world: InMemoryWorld): Promise<RepairPlan> {
  const [name = ''] = nodeNames(world.cluster, 'slice-a');
  world.cluster.change('nodes', undefined, name, ({ metadata }) => {
    delete metadata.annotations?.['container.googleapis.com/instance_id'];
  });
  const planned = await plan(world);
  expect(planned).not.to.have.property('instanceId');
  expect(planned.node.name).to.equal(name);
  return planned;
}

/** A plan for a machine that must not be deleted by its id: an IAM condition on names refuses that. */
async function planRefusedById(world: InMemoryWorld): Promise<RepairPlan> {
  const planned = await plan(world);
  const path = new RegExp(`/instances/${planned.instanceId}`);
  world.emulator.faults.add({ path, times: Infinity, effect: { status: 403 } });
  return planned;
}

interface Carrier {
  id?: string;
  isResume?: boolean;
  onRequest?: (request: HttpRequest) => void;
  beforeDeletion?: () => Promise<void>;
}

/** Carries a plan out as one action that holds the pool's lock, and gives that back. */
async function carryOut(world: InMemoryWorld, planned: RepairPlan, carrier: Carrier = {}): Promise<Step> {
  const { id = 'a', isResume = false, onRequest, beforeDeletion = async () => undefined } = carrier;
  const kubernetes = world.connect(onRequest ? { onRequest } : {});
  const lock = await acquirePoolLock(kubernetes, world.clock, 'slice-a', { id, claimId: '1' });
  if (!(lock instanceof PoolLock)) throw new Error(`the lock is ${lock.heldBy.id}'s`);
  try {
    return await repairInstance(planned, {
      kubernetes: kubernetes.throughGate(lock.gate),
      lock,
      deadline: new Deadline(world.clock, 240_000),
      config: readConfig({ CLUSTERS: trainCluster }),
      ...createInMemoryCompute(world.emulator, world.clock),
      log: createLog(() => undefined),
      actionId: id,
      isResume,
      beforeDeletion,
      shown: [],
    });
  } finally {
    await lock.release({ forget: false });
  }
}

function machine({ emulator }: InMemoryWorld, name: string): Instance | undefined {
  return emulator.fleet.list().find((each) => each.name === name);
}

/** The machines that were deleted, by name and id. */
function deleted({ emulator }: InMemoryWorld): string[] {
  return emulator.fleet.deletions.map(({ instance }) => `${instance.name} ${instance.id}`);
}

function sentDeletions({ emulator }: InMemoryWorld): string[] {
  return emulator
    .writes()
    .flatMap(({ path }) => (instancePath.test(path) ? (path.split('/').at(-1) ?? '') : []));
}

function cooldown(world: InMemoryWorld) {
  const lease = world.cluster.get('leases', failoverNamespace, 'pool-slice-a');
  return readMark(lease?.metadata.annotations ?? {}, 'repair');
}

function setLabels({ cluster }: InMemoryWorld, { node }: RepairPlan, labels: Record<string, string>): void {
  cluster.change('nodes', undefined, node.name, ({ metadata }) => {
    metadata.labels = { ...metadata.labels, ...labels };
  });
}

describe('repairInstance', () => {
  it('deletes the planned machine by its numeric id, and says that it was accepted, not that it is done', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    const { id } = machine(world, planned.instanceName) ?? {};
    const step = await carryOut(world, planned);
    expect(step).to.deep.equal({
      step: 'repair',
      target: planned.node.name,
      outcome: 'deletion_accepted',
      operation: world.emulator.fleet.operations[0]?.name,
      instance: `projects/demo-project/zones/us-central1-a/instances/${planned.instanceName}`,
      instance_id: id,
      deleted_by: 'id',
      why: 'the least healthy node of a multi-host slice: all look healthy; first by name',
      replaces: 'all machines of the slice',
      cordon:
        're-registered nodes lose the cordon, surviving Node objects keep it; check, then send uncordon_nodepool',
    });
    expect(sentDeletions(world)).to.deep.equal([id]);
    const [request] = world.emulator.writes().filter(({ api }) => api === 'compute');
    expect(request?.query).to.deep.equal({ requestId: toRequestId('a', id ?? '') });
    expect(countEffects(world.emulator.writes())).to.deep.equal({ 'DELETE instances': 1 });
  });

  it('writes the mark with the machine’s id before it deletes', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.emulator.faults.add({ api: 'compute', times: Infinity, effect: { status: 500 } });
    await refusalOf(carryOut(world, planned));
    expect(deleted(world)).to.deep.equal([]);
    expect(cooldown(world)).to.deep.equal({
      action: 'a',
      at: '2026-11-23T03:00:00.000Z',
      instanceId: planned.instanceId,
      state: 'begun',
    });
  });

  it('sends one deletion when the same action runs again', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    const first = await carryOut(world, planned);
    const second = await carryOut(world, planned, { isResume: true });
    expect(second).to.deep.equal(first);
    expect(deleted(world)).to.have.length(1);
  });

  // F-10: the answer was lost after Compute accepted, and the retry deleted the replacement.
  it('deletes one machine when the answer was lost, whether it retries at once or after the machine was replaced', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.emulator.faults.add({ api: 'compute', effect: 'reset_after' });
    expect(await carryOut(world, planned)).to.include({ outcome: 'deletion_accepted' });
    world.clock.advance(3_700_000);
    world.emulator.settle();
    const replacement = machine(world, planned.instanceName);
    expect(replacement?.id).not.to.equal(planned.instanceId);
    await carryOut(world, planned, { isResume: true });
    expect(deleted(world)).to.deep.equal([`${planned.instanceName} ${planned.instanceId}`]);
    expect(machine(world, planned.instanceName)).to.deep.include({ id: replacement?.id, status: 'RUNNING' });
  });

  // F-59: the machine was gone already, or its group was re-creating it: an endless 500.
  it('is done when the machine is being re-created or is gone', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    await carryOut(world, planned);
    expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'already_repairing' });
    world.clock.advance(31_000);
    world.emulator.settle();
    expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'already_gone' });
    expect(deleted(world)).to.have.length(1);
  });

  // F-21: the machine is re-created under its name before the deletion: the replacement lives.
  for (const nodeObject of ['survives', 'reregistered'] as const) {
    it(`leaves the replacement machine alone when its Node object is ${nodeObject}`, async () => {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      const replacement = world.cluster.replaceInstance(planned.node.name, nodeObject);
      expect(await carryOut(world, planned)).to.include({ outcome: 'already_gone' });
      expect(machine(world, planned.instanceName)).to.include({ id: replacement, status: 'RUNNING' });
      expect(deleted(world)).to.deep.equal([]);
    });
  }

  // F-39: Compute answered 403, and the permission was corrected: the next try is not rate limited.
  // F-60: a permanent failure of the provider (403, 400) was reported as in progress for ever.
  for (const [what, effect, message] of [
    [
      '403',
      { status: 403 },
      /^the Compute API answered 403 Forbidden \(DELETE .*\): grant compute\.instances\.delete$/,
    ],
    ['401', { status: 401 }, /^the Compute API answered 401/],
    [
      '400 for deletion protection',
      { status: 400, body: { error: { errors: [{ reason: 'invalidResourceUsage' }] } } },
      /^the Compute API answered 400 invalidResourceUsage/,
    ],
  ] as const) {
    it(`fails with ${what}, deletes nothing and takes its mark back`, async () => {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      world.emulator.faults.add({ api: 'compute', times: Infinity, effect });
      const refusal = await refusalOf(carryOut(world, planned, { isResume: true }));
      expect(refusal).to.include({ code: 'upstream_failed', status: 502 });
      expect(refusal.message).to.match(message);
      expect(sentDeletions(world)).to.have.length(1);
      expect(cooldown(world)).to.equal(undefined);
      world.emulator.faults.clear();
      expect(await carryOut(world, planned, { id: 'b' })).to.include({ outcome: 'deletion_accepted' });
    });
  }

  it('puts back the mark that was there before', async () => {
    const world = createInMemoryWorld();
    await carryOut(world, await plan(world), { id: 'before' });
    const before = cooldown(world);
    world.clock.advance(200_000);
    world.emulator.settle();
    world.emulator.faults.add({ api: 'compute', times: Infinity, effect: { status: 403 } });
    await refusalOf(carryOut(world, await plan(world), { id: 'b', isResume: true }));
    expect(cooldown(world)).to.deep.equal(before);
  });

  it('keeps its mark while nobody knows whether the machine was deleted', async () => {
    for (const [effect, last] of [
      ['reset_after', 403],
      ['hang_after', 403],
      ['reset_after', 400],
    ] as const) {
      const world = createInMemoryWorld();
      const planned = await plan(world);
      world.emulator.faults.add({ api: 'compute', effect });
      world.emulator.faults.add({ api: 'compute', times: Infinity, effect: { status: last } });
      await refusalOf(carryOut(world, planned));
      expect(cooldown(world)).to.include({ action: 'a' });
      expect(sentDeletions(world)).to.deep.equal([planned.instanceId, planned.instanceId]);
    }
  });

  it('waits when Compute’s rate limit answers 403, and does not treat it as a missing permission', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    const body = { error: { errors: [{ reason: 'rateLimitExceeded' }] } };
    world.emulator.faults.add({ api: 'compute', times: 2, effect: { status: 403, body } });
    expect(await carryOut(world, planned)).to.include({ outcome: 'deletion_accepted' });
    expect(sentDeletions(world)).to.deep.equal([planned.instanceId, planned.instanceId, planned.instanceId]);
  });

  it('doubts nothing that was accepted before, and says what the plan warns of', async () => {
    const world = createInMemoryWorld();
    const planned = { ...(await plan(world)), warning: 'look at the switch, too' };
    expect(await carryOut(world, planned)).to.include({ warning: 'look at the switch, too' });
    const before = cooldown(world);
    expect(before).to.include({ state: 'accepted' });
    world.clock.advance(1_000);
    world.emulator.faults.add({ api: 'compute', times: Infinity, effect: 'reset_before' });
    await refusalOf(carryOut(world, planned, { isResume: true }));
    expect(cooldown(world)).to.include({ action: 'a', state: 'accepted' });
  });

  it('says what the plan warns of beside what Compute says', async () => {
    const world = createInMemoryWorld();
    const planned = { ...(await plan(world)), warning: 'look at the switch, too' };
    const effect = { status: 200, body: { name: 'operation-1', targetId: '12345' } };
    world.emulator.faults.add({ api: 'compute', method: 'DELETE', effect });
    const { warning } = (await carryOut(world, planned)) as RepairStep;
    expect(warning).to.match(/^Compute says that operation operation-1 deletes .*; look at the switch, too$/);
  });

  // F-436: the report of a machine that had registered as another Node was not seen, and the machine was deleted.
  it('is held up by a report of the host where its machine has registered as another Node', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.change('nodes', undefined, planned.node.name, ({ metadata }) => {
      metadata.uid = 'another';
    });
    setLabels(world, planned, { [faultLabel]: 'XID' });
    const refusal = await refusalOf(carryOut(world, planned));
    expect(refusal).to.include({ code: 'repair_refused' });
    expect(refusal.message).to.contain('since this action was planned');
    expect(sentDeletions(world)).to.deep.equal([]);
  });

  it('is not held up by a report of the host once the machine is another one', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.cluster.replaceInstance(planned.node.name, 'survives');
    setLabels(world, planned, { [faultLabel]: 'XID' });
    expect(await carryOut(world, planned)).to.include({ outcome: 'already_gone' });
    const unnamed = createInMemoryWorld();
    const byName = await planByName(unnamed);
    unnamed.cluster.change('nodes', undefined, byName.node.name, ({ metadata }) => {
      metadata.uid = 'another';
    });
    setLabels(unnamed, byName, { [faultLabel]: 'XID' });
    expect(await refusalOf(carryOut(unnamed, byName))).to.include({ code: 'target_changed' });
    expect(sentDeletions(unnamed)).to.deep.equal([]);
  });

  it('deletes nothing and marks nothing when beforeDeletion stops it', async () => {
    const world = createInMemoryWorld();
    const stop = new FailoverError('paused', 'paused');
    const work = carryOut(world, await plan(world), { beforeDeletion: () => Promise.reject(stop) });
    expect(await refusalOf(work)).to.equal(stop);
    expect(sentDeletions(world)).to.deep.equal([]);
    expect(cooldown(world)).to.equal(undefined);
  });

  it('deletes nothing when the mark cannot be written', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    const work = carryOut(world, planned, {
      async beforeDeletion() {
        world.emulator.faults.add({
          method: 'PUT',
          path: /\/pool-/,
          times: Infinity,
          effect: { status: 500 },
        });
      },
    });
    expect((await refusalOf(work)).code).to.equal('upstream_failed');
    expect(sentDeletions(world)).to.deep.equal([]);
  });

  it('deletes nothing once the lock is lost', async () => {
    const world = createInMemoryWorld();
    const work = carryOut(world, await plan(world), {
      async beforeDeletion() {
        world.clock.advance(50_000);
      },
    });
    expect((await refusalOf(work)).code).to.equal('upstream_timeout');
    expect(sentDeletions(world)).to.deep.equal([]);
  });
});

describe('repairInstance by the name of the machine', () => {
  it('asks Compute for the id when the node does not have it, and deletes by that, in the claim that decided it', async () => {
    const world = createInMemoryWorld();
    const planned = await planByName(world);
    const { id } = machine(world, planned.instanceName) ?? {};
    const step = await carryOut(world, planned);
    expect(step).to.include({ outcome: 'deletion_accepted', instance_id: id, deleted_by: 'id' });
    expect(sentDeletions(world)).to.deep.equal([id]);
  });

  it('never deletes by name when it resumes, and says what to type', async () => {
    const world = createInMemoryWorld();
    const planned = await planByName(world);
    const refusal = await refusalOf(carryOut(world, planned, { isResume: true }));
    expect(refusal).to.include({ code: 'repair_refused', status: 409 });
    expect(refusal.message).to.equal(
      `the machine of node ${planned.node.name} is known by its name only, and an earlier request may have deleted it ` +
        'already, so a second deletion could hit its replacement; check the machine, then: ' +
        `gcloud compute instances delete ${planned.instanceName} --zone us-central1-a --project demo-project`,
    );
    expect(sentDeletions(world)).to.deep.equal([]);
    expect(cooldown(world)).to.equal(undefined);
  });

  for (const [what, change] of [
    [
      'is another one',
      (world: InMemoryWorld, name: string) => void world.cluster.replaceInstance(name, 'reregistered'),
    ],
    ['is gone', (world: InMemoryWorld, name: string) => world.cluster.removeNode(name)],
    [
      'shows another machine',
      (world: InMemoryWorld, name: string) =>
        world.cluster.change('nodes', undefined, name, ({ status }) => {
          status.nodeInfo = { ...status.nodeInfo, systemUUID: 'another' };
        }),
    ],
    [
      'says an id by now',
      (world: InMemoryWorld, name: string) =>
        world.cluster.change('nodes', undefined, name, ({ metadata }) => {
          metadata.annotations = { ...metadata.annotations, 'container.googleapis.com/instance_id': '12345' };
        }),
    ],
  ] as const) {
    it(`does not delete by name when the node ${what} since the decision`, async () => {
      const world = createInMemoryWorld();
      const planned = await planByName(world);
      const work = carryOut(world, planned, { beforeDeletion: async () => change(world, planned.node.name) });
      expect(await refusalOf(work)).to.include({
        code: 'target_changed',
        message: `the machine of node ${planned.node.name} was replaced in the meantime; nothing was deleted`,
      });
      expect(sentDeletions(world)).to.deep.equal([]);
      expect(cooldown(world)).to.equal(undefined);
    });
  }

  it('sends the deletion once when its outcome is unknown, and keeps the mark', async () => {
    for (const effect of ['reset_before', 'reset_after', 'hang', { status: 503 }] as const) {
      const world = createInMemoryWorld();
      const planned = await planRefusedById(world);
      world.emulator.faults.add({ api: 'compute', method: 'DELETE', effect });
      await refusalOf(carryOut(world, planned));
      expect(sentDeletions(world)).to.deep.equal([planned.instanceId, planned.instanceName]);
      expect(cooldown(world)).to.include({ action: 'a' });
    }
  });

  it('sends the deletion again after a 429, because a 429 has certainly done nothing', async () => {
    const world = createInMemoryWorld();
    const planned = await planRefusedById(world);
    world.emulator.faults.add({ api: 'compute', method: 'DELETE', effect: { status: 429 } });
    expect(await carryOut(world, planned)).to.include({ outcome: 'deletion_accepted', deleted_by: 'name' });
    expect(sentDeletions(world)).to.have.length(3);
  });

  it('deletes the machine by name when an IAM condition on names refuses the id, in the claim that decided it', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.emulator.faults.add({
      path: new RegExp(`/instances/${planned.instanceId}`),
      times: Infinity,
      effect: { status: 403 },
    });
    expect(await carryOut(world, planned)).to.include({ outcome: 'deletion_accepted' });
    expect(sentDeletions(world)).to.deep.equal([planned.instanceId, planned.instanceName]);
    expect(deleted(world)).to.deep.equal([`${planned.instanceName} ${planned.instanceId}`]);
    const again = await refusalOf(carryOut(world, planned, { isResume: true }));
    expect(again).to.include({ code: 'upstream_failed' });
    expect(deleted(world)).to.have.length(1);
  });

  it('does not delete by name when the machine was replaced since, even if the id was refused', async () => {
    const world = createInMemoryWorld();
    const planned = await plan(world);
    world.emulator.faults.add({ api: 'compute', effect: { status: 403 } });
    world.cluster.replaceInstance(planned.node.name, 'survives');
    const refusal = await refusalOf(carryOut(world, planned));
    expect(refusal.code).to.equal('target_changed');
    expect(deleted(world)).to.deep.equal([]);
    expect(cooldown(world)).to.equal(undefined);
  });
});

describe('repairInstance by a label', () => {
  async function planReboot(world: InMemoryWorld): Promise<RepairPlan> {
    return { ...(await plan(world)), way: 'reboot' };
  }

  /** The labels that were asked for. */
  function asked({ emulator }: InMemoryWorld): unknown[] {
    return emulator
      .writes()
      .filter(({ method, path }) => method === 'PATCH' && path.startsWith('/api/v1/nodes/'))
      .map(({ body }) => (body as { metadata: { labels?: object } }).metadata.labels);
  }

  it('may be resumed where the node does not say the id of its machine: a label hits no replacement', async () => {
    const world = createInMemoryWorld();
    const planned: RepairPlan = { ...(await planByName(world)), way: 'reboot' };
    const work = carryOut(world, planned, { isResume: true });
    expect(await work).to.include({ outcome: 'reboot_requested' });
    expect(asked(world)).to.deep.equal([{ [rebootLabel]: 'true' }]);
  });

  for (const [what, change] of [
    ['shows another machine', (node: Node) => (node.status.nodeInfo['systemUUID'] = 'another')],
    [
      'says another id',
      ({ metadata }: Node) => {
        const other = { 'container.googleapis.com/instance_id': '12345' };
        metadata.annotations = { ...metadata.annotations, ...other };
      },
    ],
  ] as const) {
    it(`asks for nothing where the node ${what} since the decision`, async () => {
      const world = createInMemoryWorld();
      const planned = await planReboot(world);
      world.cluster.change('nodes', undefined, planned.node.name, (node) => void change(node));
      expect(await refusalOf(carryOut(world, planned))).to.include({ code: 'target_changed' });
      expect(asked(world)).to.deep.equal([]);
      expect(cooldown(world)).to.equal(undefined);
    });
  }

  it('asks for nothing where somebody has asked for a repair of the node since the decision', async () => {
    const world = createInMemoryWorld();
    const planned = await planReboot(world);
    setLabels(world, planned, { [faultLabel]: 'XID' });
    const { code, message } = await refusalOf(carryOut(world, planned));
    expect(code).to.equal('repair_refused');
    expect(message).to.match(/is under repair already \(.*\), because somebody asked for it in the meantime/);
    expect(asked(world)).to.deep.equal([]);
    expect(cooldown(world)).to.equal(undefined);
  });

  it('sets no label where it may not take the one away that GKE has left, and says why', async () => {
    const world = createInMemoryWorld();
    const planned = await planReboot(world);
    const time = new Date(world.clock.now() - 1_800_000).toISOString().replace('.000', '');
    world.cluster.change('nodes', undefined, planned.node.name, ({ metadata }) => {
      metadata.labels = { ...metadata.labels, [rebootLabel]: 'true' };
      const fieldsV1 = { 'f:metadata': { 'f:labels': { [`f:${rebootLabel}`]: {} } } };
      metadata.managedFields = [
        {
          manager: 'kubectl-label',
          operation: 'Update',
          apiVersion: 'v1',
          fieldsType: 'FieldsV1',
          fieldsV1,
          time,
        },
      ];
    });
    world.emulator.faults.add({ method: 'PATCH', path: /\/nodes\//, effect: { status: 403 } });
    expect(await refusalOf(carryOut(world, planned))).to.include({ code: 'upstream_failed' });
    expect(asked(world)).to.deep.equal([{ [rebootLabel]: null }]);
    expect(cooldown(world)).to.equal(undefined);
  });
});
