import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { planRepair } from '../../src/decide/repair-plan.ts';
import { repairInstance } from '../../src/effects/repair.ts';
import { listPoolHealth } from '../../src/gke/nodes.ts';
import { createLog } from '../../src/log.ts';
import { failoverNamespace } from '../../src/names.ts';
import type { RepairPlan } from '../../src/plan.ts';
import { readMark } from '../../src/state/cooldown.ts';
import { acquirePoolLock, PoolLock } from '../../src/state/lock.ts';
import type { RepairStep } from '../../src/step.ts';
import type { Instance } from '../emulator/fleet.ts';
import { createInMemoryCompute } from '../fixtures/in-memory-compute.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const idAnnotation = 'container.googleapis.com/instance_id';
const compute = { api: 'compute' } as const;

describe('a deletion by name', () => {
  let world: InMemoryWorld;
  let plan: RepairPlan;
  let log: Record<string, unknown>[];

  beforeEach(async () => {
    world = createInMemoryWorld();
    log = [];
    plan = await planFirst();
  });

  describe('after Compute has refused the id', () => {
    beforeEach(() => refuseId());

    it('is sent while Compute says that the name is the planned machine, and the step says so', async () => {
      const step = await carryOut();
      expect(step).to.include({ outcome: 'deletion_accepted', deleted_by: 'name' });
      expect(step).to.include({ instance_id: plan.instanceId });
      expect(step).not.to.have.property('warning');
      expect(requests()).to.deep.equal([
        `DELETE ${plan.instanceId}`,
        `GET ${plan.instanceName}`,
        `DELETE ${plan.instanceName}`,
      ]);
      expect(log).to.deep.equal([]);
    });

    // F-93: the Node object was still the old machine's, and its booting replacement was deleted under the same name.
    it('is refused while the replacement boots and the Node object lags behind', async () => {
      const replacement = replaceBehindNode();
      const refusal = await refusalOf(carryOut());
      expect(refusal).to.include({ code: 'repair_refused', status: 409 });
      expect(refusal.message).to.equal(
        `Compute refuses to delete the machine of node ${plan.node.name} by its id ${plan.instanceId} (403), and the name ` +
          `${plan.instanceName} is another machine now (id ${replacement.id}), probably its replacement; nothing was deleted. ` +
          `Look at it: gcloud compute instances describe ${plan.instanceName} --zone us-central1-a --project demo-project`,
      );
      expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`]);
      expect(mark()).to.equal(undefined);
    });

    it('is asked about again before each try, because the machine may be replaced while Compute throttles', async () => {
      world.emulator.faults.add({
        ...compute,
        method: 'DELETE',
        match: ({ path }) => path.endsWith(plan.instanceName) && Boolean(replaceBehindNode()),
        effect: { status: 429 },
      });
      expect(await refusalOf(carryOut())).to.include({ code: 'repair_refused' });
      expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`, `DELETE ${plan.instanceName}`]);
      expect(world.emulator.fleet.deletions).to.deep.equal([]);
    });

    it('is not sent once there is no such machine', async () => {
      world.emulator.faults.add({ ...compute, method: 'GET', times: Infinity, effect: { status: 404 } });
      const step = await carryOut();
      expect(step).to.include({ outcome: 'already_gone' });
      expect(step).not.to.have.property('deleted_by');
      expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`]);
    });

    for (const status of ['STOPPING', 'DEPROVISIONING', 'PENDING_STOP']) {
      it(`is not sent while the machine is ${status}, because the name may be its replacement's in a moment`, async () => {
        Object.assign(machine(), { status });
        const step = await carryOut();
        expect(step).to.include({ outcome: 'already_repairing' });
        expect(step).not.to.have.property('deleted_by');
        expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`]);
      });
    }

    for (const [what, effect] of Object.entries({
      'a 400': { status: 400 },
      'a 503': { status: 503 },
      'no answer': 'hang',
      'a lost connection': 'reset_before',
      'an answer without an id': { status: 200, body: { status: 'RUNNING' } },
    } as const)) {
      it(`is refused with the gcloud line when Compute answers the question with ${what}, and takes the mark back`, async () => {
        world.emulator.faults.add({ ...compute, method: 'GET', times: Infinity, effect });
        const refusal = await refusalOf(carryOut());
        expect(refusal).to.include({ code: 'repair_refused', status: 409 });
        expect(refusal.message).to.include(
          `gcloud compute instances delete ${plan.instanceName} --zone us-central1-a --project demo-project`,
        );
        expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`]);
        expect(mark()).to.equal(undefined);
      });
    }

    it('is not sent without the permission for the question, and both permissions are named', async () => {
      world.emulator.faults.add({ ...compute, method: 'GET', times: Infinity, effect: { status: 403 } });
      const refusal = await refusalOf(carryOut());
      expect(refusal).to.include({ code: 'upstream_failed', status: 502 });
      expect(refusal.message).to.match(/^the Compute API answered 403 .*grant compute\.instances\.delete; /);
      expect(refusal.message).to.include('grant compute.instances.get; nothing was deleted');
      expect(refusal.message).to.include(`gcloud compute instances delete ${plan.instanceName}`);
      expect(deletions()).to.deep.equal([`DELETE ${plan.instanceId}`]);
      expect(mark()).to.equal(undefined);
    });

    it('is asked about again after a failure that passes', async () => {
      world.emulator.faults.add({ ...compute, method: 'GET', times: 2, effect: { status: 503 } });
      expect(await carryOut()).to.include({ outcome: 'deletion_accepted', deleted_by: 'name' });
    });

    it('is never sent by a resume', async () => {
      expect(await refusalOf(carryOut({ isResume: true }))).to.include({ code: 'upstream_failed' });
      expect(requests()).to.deep.equal([`DELETE ${plan.instanceId}`]);
    });
  });

  describe('of a node that does not say the id', () => {
    beforeEach(async () => {
      const [name = ''] = nodeNames(world.cluster, 'slice-a');
      world.cluster.change('nodes', undefined, name, ({ metadata }) => {
        delete metadata.annotations?.[idAnnotation];
      });
      plan = await planFirst();
    });

    it('becomes one by the id that Compute tells, which hits no other machine however often it is sent', async () => {
      const { id } = machine();
      world.emulator.faults.add({ ...compute, method: 'DELETE', effect: 'reset_after' });
      expect(await carryOut()).to.include({ deleted_by: 'id', instance_id: id });
      expect(requests()).to.deep.equal([`GET ${plan.instanceName}`, `DELETE ${id}`, `DELETE ${id}`]);
      expect(world.emulator.fleet.deletions).to.have.length(1);
    });

    // F-93: the Node object was still the old machine's, and its booting replacement was deleted under the same name.
    it('is refused while the machine is younger than the Node object', async () => {
      world.clock.advance(60_000);
      const { id } = replaceBehindNode();
      const refusal = await refusalOf(carryOut());
      expect(refusal).to.include({ code: 'repair_refused' });
      expect(refusal.message).to.include(
        `machine ${plan.instanceName} (id ${id}) is younger than the Node object`,
      );
      expect(deletions()).to.deep.equal([]);
      expect(mark()).to.equal(undefined);
    });

    it('is refused while Compute does not say since when the machine is there', async () => {
      const { id } = machine();
      const effect = { status: 200, body: { id, status: 'RUNNING' } };
      world.emulator.faults.add({ ...compute, method: 'GET', effect });
      expect(await refusalOf(carryOut())).to.include({ code: 'repair_refused' });
      expect(deletions()).to.deep.equal([]);
    });

    it('is asked about once more when the id is refused, and sent by name', async () => {
      const { id } = machine();
      const path = new RegExp(`/instances/${id}`);
      world.emulator.faults.add({ path, times: Infinity, effect: { status: 403 } });
      expect(await carryOut()).to.include({ deleted_by: 'name', instance_id: id });
      const name = plan.instanceName;
      expect(requests()).to.deep.equal([`GET ${name}`, `DELETE ${id}`, `GET ${name}`, `DELETE ${name}`]);
    });

    it('sends nothing when the machine is gone, or is being deleted', async () => {
      world.emulator.faults.add({ ...compute, method: 'GET', effect: { status: 404 } });
      expect(await carryOut()).to.include({ outcome: 'already_gone' });
      Object.assign(machine(), { status: 'STOPPING' });
      expect(await carryOut()).to.include({ outcome: 'already_repairing' });
      expect(deletions()).to.deep.equal([]);
    });
  });

  describe('or by id: what Compute says it deletes', () => {
    // F-94: a node's annotation had the id of a machine of another pool, and the answer named the right one.
    it('is an error in the log and a warning in the step when it is not the planned machine', async () => {
      const [other = ''] = nodeNames(world.cluster, 'slice-b');
      const { id } = machine(other);
      world.cluster.change('nodes', undefined, plan.node.name, ({ metadata }) => {
        metadata.annotations = { ...metadata.annotations, [idAnnotation]: id };
      });
      plan = await planFirst();
      expect(plan).to.include({ instanceName: plan.node.name, instanceId: id });
      const step = await carryOut();
      const operation = world.emulator.fleet.operations[0]?.name ?? '';
      const warning =
        `Compute says that operation ${operation} deletes projects/demo-project/zones/us-central1-a/instances/${other} ` +
        `(id ${id}), which is not the planned machine ${plan.instanceName} (id ${id}): look at that machine, and at who can ` +
        `write the annotations of node ${plan.node.name}`;
      expect(step).to.include({ outcome: 'deletion_accepted', warning });
      expect(log).to.deep.equal([{ severity: 'ERROR', message: warning, event: 'warning', operation }]);
    });

    for (const [what, change, isOther] of [
      ['another id', { targetId: '12345' }, true],
      ['another name', { targetLink: toLink('us-central1-a', 'gke-other') }, true],
      ['a name that only ends like it', { targetLink: toLink('us-central1-a', 'x-NAME') }, true],
      ['another zone', { targetLink: toLink('us-central1-b', 'NAME') }, true],
      [
        'another kind of resource',
        { targetLink: 'https://example.com/<b>zones/us-central1-a/disks/NAME' },
        true,
      ],
      ['the same, by its id', { targetLink: toLink('us-central1-a', 'ID') }, false],
      [
        'the same, in a project by its number',
        { targetLink: toLink('us-central1-a', 'NAME', '123456') },
        false,
      ],
      ['nothing about it', { targetLink: undefined, targetId: undefined }, false],
      ['the same, without an id yet', { targetId: '0' }, false],
    ] as const) {
      it(`is ${isOther ? 'not ' : ''}as planned if it is ${what}`, async () => {
        const body = {
          name: 'operation-1',
          targetLink: toLink('us-central1-a', 'NAME'),
          targetId: plan.instanceId,
          ...change,
        };
        const link = body.targetLink?.replace('NAME', plan.instanceName).replace('ID', plan.instanceId ?? '');
        const effect = { status: 200, body: { ...body, targetLink: link } };
        world.emulator.faults.add({ ...compute, method: 'DELETE', effect });
        const step = await carryOut();
        expect(step).to.include({ outcome: 'deletion_accepted', operation: 'operation-1' });
        expect('warning' in step).to.equal(isOther);
        expect(log).to.have.length(isOther ? 1 : 0);
        // What an upstream says is no text of an answer, only names in their form.
        expect(JSON.stringify(step)).not.to.include('<b>');
      });
    }

    for (const [targetId, told] of [
      ['12345', ' (id 12345)'],
      ['x12345', ''],
      ['12345x', ''],
    ]) {
      it(`tells no resource and no id that is not in its form (${targetId})`, async () => {
        const targetLink = `${toLink('us-central1-b', plan.instanceName)}/<b>`;
        const effect = { status: 200, body: { name: 'operation-1', targetLink, targetId } };
        world.emulator.faults.add({ ...compute, method: 'DELETE', effect });
        const { warning } = await carryOut();
        const start = `Compute says that operation operation-1 deletes another resource${told}, which is not`;
        expect(warning?.slice(0, start.length)).to.equal(start);
      });
    }

    it('is not as planned if a deletion by name hits another id after all', async () => {
      refuseId();
      const effect = {
        status: 200,
        body: {
          name: 'operation-1',
          targetLink: toLink('us-central1-a', plan.instanceName),
          targetId: '777',
        },
      };
      const path = new RegExp(`/instances/${plan.instanceName}`);
      world.emulator.faults.add({ ...compute, method: 'DELETE', path, effect });
      const step = await carryOut();
      expect(step).to.include({ deleted_by: 'name' });
      expect(step.warning).to.match(/ \(id 777\), which is not the planned machine/);
    });
  });

  function toLink(zone: string, name: string, project = 'demo-project'): string {
    return `https://www.googleapis.com/compute/v1/projects/${project}/zones/${zone}/instances/${name}`;
  }

  /** Plans for the first node of the slice, which is the least healthy one by name. */
  async function planFirst(): Promise<RepairPlan> {
    const [cluster] = readConfig({ CLUSTERS: trainCluster }).clusters;
    if (!cluster) throw new Error('no cluster is configured');
    const target = { nodePool: 'slice-a', nodeName: undefined, cluster, isAutopilot: false };
    return planRepair(await listPoolHealth(world.kubernetes, 'slice-a'), target);
  }

  async function carryOut({ isResume = false } = {}): Promise<RepairStep> {
    const { kubernetes, clock, emulator } = world;
    const lock = await acquirePoolLock(kubernetes, clock, 'slice-a', { id: 'a', claimId: '1' });
    if (!(lock instanceof PoolLock)) throw new Error(`the lock is ${lock.heldBy.id}'s`);
    try {
      return await repairInstance(plan, {
        kubernetes: kubernetes.throughGate(lock.gate),
        lock,
        deadline: new Deadline(clock, 240_000),
        config: readConfig({ CLUSTERS: trainCluster }),
        ...createInMemoryCompute(emulator, clock),
        log: createLog((line) => log.push(JSON.parse(line) as Record<string, unknown>)),
        actionId: 'a',
        isResume,
        beforeDeletion: async () => undefined,
        shown: [],
      });
    } finally {
      await lock.release({ forget: false });
    }
  }

  /** An IAM condition on names refuses the id. */
  function refuseId(): void {
    const path = new RegExp(`/instances/${plan.instanceId}`);
    world.emulator.faults.add({ ...compute, path, times: Infinity, effect: { status: 403 } });
  }

  function machine(name = plan.instanceName): Instance {
    const found = world.emulator.fleet.list().find((each) => each.name === name);
    if (!found) throw new Error(`there is no machine ${name}`);
    return found;
  }

  /** GKE replaces the machine; the replacement boots, and its kubelet has not come back yet. */
  function replaceBehindNode(): Instance {
    const { group } = machine();
    const { replaced } = group;
    group.replaced = () => undefined;
    const next = world.emulator.fleet.replace(machine(), 'survives');
    group.replaced = replaced;
    return next;
  }

  /** What was asked of Compute, in order. */
  function requests(): string[] {
    return world.emulator.requests
      .filter(({ api }) => api === 'compute')
      .map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);
  }

  function deletions(): string[] {
    return requests().filter((request) => request.startsWith('DELETE'));
  }

  function mark() {
    const lease = world.cluster.get('leases', failoverNamespace, 'pool-slice-a');
    return readMark(lease?.metadata.annotations ?? {}, 'repair');
  }
});
