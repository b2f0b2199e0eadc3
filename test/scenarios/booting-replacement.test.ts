import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import type { Emulator } from '../emulator/emulator.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { deletedMachines } from '../fixtures/train-run.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

// GKE has replaced a bad machine by itself. The Node object survives with the new machine's id, and is not Ready yet.

const instanceId = 'container.googleapis.com/instance_id';
const repair = { id: 'a', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a' };
const labels = { failover_action: 'cordon_and_repair_nodepool' };

type World = Pick<VirtualFailover, 'time' | 'emulator' | 'cluster' | 'pass'>;

interface Booting {
  node: string;
  oldId: string;
  newId: string;
  /** When the node stopped being Ready, and when the replacement was created. */
  notReadySince: number;
  createdAt: number;
}

function setNotReady(cluster: EmulatedCluster, node: string, since: number): void {
  cluster.change('nodes', undefined, node, ({ status }) => {
    const ready = status.conditions.find(({ type }) => type === 'Ready');
    Object.assign(ready ?? {}, {
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      lastTransitionTime: toTime(since),
    });
  });
}

function annotate(cluster: EmulatedCluster, node: string, id: string): void {
  cluster.change('nodes', undefined, node, ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [instanceId]: id };
  });
}

function idOf(cluster: EmulatedCluster, node: string): string {
  return cluster.get('nodes', undefined, node)?.metadata.annotations?.[instanceId] ?? '';
}

/** A machine dies, and two minutes later GKE has put another one behind its node, which boots. */
async function boot({ time, cluster, pass }: World, world: World): Promise<Booting> {
  const [node = ''] = nodeNames(cluster, 'slice-a');
  const oldId = idOf(cluster, node);
  await pass.call(world, 60);
  const notReadySince = Math.floor(time.now / 1000) * 1000;
  cluster.killNode(node);
  await pass.call(world, 120);
  const createdAt = time.now;
  const newId = cluster.replaceInstance(node, 'survives');
  setNotReady(cluster, node, notReadySince);
  await pass.call(world, 30);
  expect(idOf(cluster, node)).to.equal(newId);
  return { node, oldId, newId, notReadySince, createdAt };
}

async function createBooting(options = {}): Promise<Booting & { world: VirtualFailover }> {
  const world = new VirtualFailover(options);
  const booting = await boot(world, world);
  world.newWrites();
  return { ...booting, world };
}

async function createAlerted(): Promise<Booting & { world: AlertWorld }> {
  const world = new AlertWorld();
  const booting = await boot(world, world);
  world.effects();
  return { ...booting, world };
}

/** How often Compute was asked for a machine. */
function countAsked({ requests }: Emulator): number {
  return requests.filter(({ api, method }) => api === 'compute' && method === 'GET').length;
}

function toTime(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

// F-156: GKE's replacement booted under the surviving Node object, looked as dead as the machine before, and was deleted.
describe('a repair of a machine that is itself a booting replacement', () => {
  for (const [what, fields] of Object.entries({
    'of the pool': {},
    'of the node': { node: true },
    'without a cordon': { type: 'repair_nodepool' },
    'in a dry run': { dry_run: true },
  } as Record<string, { node?: boolean }>)) {
    it(`is refused before anything is touched (${what})`, async () => {
      const { world, node, newId, notReadySince, createdAt } = await createBooting();
      const { node: isNodeNamed, ...rest } = fields;
      const answer = await world.send({ ...repair, ...rest, ...(isNodeNamed ? { node_name: node } : {}) });
      expect(answer).to.include({ status: 409, code: 'repair_refused' });
      expect(answer.error).to.equal(
        `machine ${node} (id ${newId}) of node ${node} was created at ${toTime(createdAt)}, after the node had stopped being Ready ` +
          `at ${toTime(notReadySince)}, so it is the replacement, which still boots; nothing was deleted. If the node is not Ready by ` +
          `${toTime(createdAt + 1_800_000)} (REPAIR_TIMEOUT_SECONDS), send this again. Look at it: gcloud compute instances describe ` +
          `${node} --zone us-central1-a --project demo-project`,
      );
      expect(countEffects(world.newWrites())).to.deep.equal({});
      const names = world.cluster.leases(failoverNamespace).map(({ metadata }) => metadata.name);
      expect(names.filter((name) => name.startsWith('action-'))).to.deep.equal([]);
    });
  }

  it('goes on once the replacement has had its time', async () => {
    const { world, node, createdAt } = await createBooting();
    await world.pass((createdAt - world.time.now) / 1000 + 1799);
    expect(await world.send(repair)).to.include({ status: 409 });
    await world.pass(1);
    const { steps } = await world.send(repair);
    expect(steps.at(-1)).to.include({ outcome: 'deletion_accepted', deleted_by: 'id' });
    expect(deletedMachines(world)).to.deep.equal([node]);
  });

  it('is refused, too, while the node still says the id of the machine before', async () => {
    const { world, node, oldId, newId, createdAt } = await createBooting();
    annotate(world.cluster, node, oldId);
    const { error } = await world.send(repair);
    expect(error).to.include(
      `machine ${node} (id ${newId}) of node ${node} was created at ${toTime(createdAt)}, and the node still says ${oldId}, so it`,
    );
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is not wanted by an alert that began before the replacement: recovered', async () => {
    const { world, node, newId, createdAt, notReadySince } = await createAlerted();
    const { body } = await world.notify({
      resource: { node_name: node },
      labels,
      startedAt: notReadySince + 60_000,
    });
    expect(body.ignored).to.equal(
      `recovered: machine ${node} (id ${newId}) of node ${node} was created at ${toTime(createdAt)}, after the incident began at ` +
        toTime(notReadySince + 60_000),
    );
    expect(world.effects()).to.deep.equal({});
  });

  it('is not wanted by an alert that began while the replacement boots: handled', async () => {
    const { world, node, notReadySince } = await createAlerted();
    const { body } = await world.notify({ resource: { node_name: node }, labels });
    expect(body.ignored).to.match(
      new RegExp(
        `^handled: machine ${node} .* after the node had stopped being Ready at ${toTime(notReadySince)}, so it is the replacement`,
      ),
    );
    expect(world.effects()).to.deep.equal({});
  });
});

describe('a repair of a machine that is broken', () => {
  async function createBroken(options = {}): Promise<{ world: VirtualFailover; node: string }> {
    const world = new VirtualFailover(options);
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    await world.pass(60);
    world.cluster.killNode(node);
    await world.pass(90);
    world.newWrites();
    return { world, node };
  }

  it('asks Compute once, and goes on', async () => {
    const { world, node } = await createBroken();
    const { steps } = await world.send(repair);
    expect(steps.at(-1)).to.include({ outcome: 'deletion_accepted', deleted_by: 'id' });
    expect(steps.at(-1)).not.to.have.property('warning');
    expect(deletedMachines(world)).to.deep.equal([node]);
    expect(countAsked(world.emulator)).to.equal(1);
  });

  it('goes on where the replacement was Ready before it broke', async () => {
    const { world, node } = await createBroken();
    world.cluster.replaceInstance(node, 'survives');
    await world.pass(60);
    setNotReady(world.cluster, node, Math.floor(world.time.now / 1000) * 1000);
    await world.pass(10);
    const { steps } = await world.send(repair);
    expect(steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    expect(deletedMachines(world)).to.deep.equal([node]);
  });

  it('does not ask where the node is Ready', async () => {
    const world = new VirtualFailover();
    const { steps } = await world.send({ ...repair, node_name: nodeNames(world.cluster, 'slice-a')[0] });
    expect(steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    expect(countAsked(world.emulator)).to.equal(0);
  });

  it('goes on with a warning where the role lets it delete, but not ask', async () => {
    const { world, node } = await createBroken();
    world.emulator.faults.add({ api: 'compute', method: 'GET', times: Infinity, effect: { status: 403 } });
    const { steps } = await world.send(repair);
    expect(steps.at(-1)).to.include({ outcome: 'deletion_accepted', deleted_by: 'id' });
    expect(steps.at(-1)?.['warning']).to.match(
      /^whether the machine is a replacement that still boots is not known, because .*compute\.instances\.get/,
    );
    expect(deletedMachines(world)).to.deep.equal([node]);
  });

  it('touches nothing where Compute does not answer, and goes on when it does', async () => {
    const { world, node } = await createBroken();
    const heal = world.emulator.faults.add({
      api: 'compute',
      method: 'GET',
      times: Infinity,
      effect: { status: 503 },
    });
    expect(await world.send(repair)).to.include({ status: 502, code: 'upstream_failed' });
    expect(countEffects(world.newWrites())).to.deep.equal({});
    heal();
    expect((await world.send(repair)).steps.at(-1)).to.include({ outcome: 'deletion_accepted' });
    expect(deletedMachines(world)).to.deep.equal([node]);
  });

  it('says that the machine is gone where Compute has none of that name', async () => {
    const { world } = await createBroken();
    world.emulator.faults.add({ api: 'compute', times: Infinity, effect: { status: 404 } });
    expect((await world.send(repair)).steps.at(-1)).to.include({ outcome: 'already_gone' });
  });
});
