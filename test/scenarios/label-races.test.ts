import { expect } from 'chai';
import { failoverNamespace, repairAnnotation } from '../../src/names.ts';
import { readMark } from '../../src/state/cooldown.ts';
import { faultLabel, GpuWorld, statusLabel } from '../fixtures/gpu-world.ts';
import { deletedMachines } from '../fixtures/train-run.ts';
import { countCordoned, nodeNames } from '../fixtures/train-world.ts';

const rebootLabel = 'cloud.google.com/perform-reboot';

function override(world: GpuWorld): void {
  world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
    const until = new Date(world.time.now + 1_800_000).toISOString();
    metadata.annotations = { ...metadata.annotations, 'autometric-failover/override-until': until };
  });
}

describe('a report that somebody begins while an action is under way', () => {
  // F-282: it began during the action's own cordon, and the first deletion made it fail.
  const moments: Record<string, { type: string; at: RegExp }> = {
    'while the pool is being cordoned': { type: 'cordon_and_repair_nodepool', at: /^PATCH .*\/nodes\// },
    'while the plan is being written': { type: 'repair_nodepool', at: /^PUT .*\/action-/ },
  };
  for (const [when, { type, at }] of Object.entries(moments)) {
    for (const labels of [{ [faultLabel]: 'XID' }, { [statusLabel]: 'OperationRUNNING' }]) {
      it(`${when}: the first deletion is not sent (${Object.keys(labels)[0]})`, async () => {
        const world = new GpuWorld();
        world.once(at, () => world.setLabels(labels));
        const answer = await world.send({ id: 'd', type, node_name: world.node });
        expect(world.isAllDone).to.equal(true);
        expect(answer.code, answer.error).to.equal('repair_refused');
        expect(answer.error).to.match(/is being reported as faulty .* since this action was planned/);
        expect(deletedMachines(world)).to.deep.equal([]);
        const lease = world.cluster.get('leases', failoverNamespace, 'pool-gpu-a');
        expect(readMark(lease?.metadata.annotations ?? {}, 'repair')).to.equal(undefined);
      });
    }
  }

  it('on another node of a multi-host slice, stops the deletion, because all machines of it would go', async () => {
    const world = new GpuWorld();
    const [bad = '', other = ''] = nodeNames(world.cluster, 'slice-a');
    world.once(/^PATCH .*\/nodes\//, () => world.setLabels({ [faultLabel]: 'XID' }, other));
    const answer = await world.send({ id: 'd', type: 'cordon_and_repair_nodepool', node_name: bad });
    expect(answer.code, answer.error).to.equal('repair_refused');
    expect(answer.error).to.include(`node ${other} is being reported`);
    expect(deletedMachines(world)).to.deep.equal([]);
  });

  it('on another, independent node, stops nothing', async () => {
    const world = new GpuWorld();
    world.once(/^PATCH .*\/nodes\//, () => world.setLabels({ [faultLabel]: 'XID' }, world.other));
    const answer = await world.send({ id: 'd', type: 'cordon_and_repair_nodepool', node_name: world.node });
    expect(answer.status, answer.error).to.equal(200);
    expect(deletedMachines(world)).to.have.length(1);
    expect(countCordoned(world.cluster, 'gpu-a')).to.equal(2);
  });

  it('is looked for while the switches are read, so that a deletion takes no more round trips in a row', async () => {
    const world = new GpuWorld();
    const action = { id: 'd', type: 'repair_nodepool', node_name: world.node };
    expect((await world.send(action)).status).to.equal(200);
    const { requests } = world.emulator;
    const deletion = requests.findIndex(({ method, api }) => method === 'DELETE' && api === 'compute');
    const last = (method: string, end: string) =>
      requests.slice(0, deletion).findLast((each) => each.method === method && each.path.endsWith(end));
    const read = last('GET', `/nodes/${world.node}`);
    const switches = last('GET', '/leases/cluster');
    // Written while these are read.
    const mark = last('PUT', '/leases/pool-gpu-a');
    expect(read?.at).to.be.a('number').and.to.equal(switches?.at);
    expect(mark?.at).to.be.at.least(read?.at ?? Infinity);
    const between = requests.filter(({ at }) => at > (read?.at ?? 0) && at < (mark?.at ?? 0));
    expect(between.map(({ method, path }) => `${method} ${path}`)).to.deep.equal([]);
  });
});

describe('two label actions on one node', () => {
  // F-283: they share an annotation. The first was resumed after the second, took its own label for never set, and asked again.
  it('the first, resumed after the second was asked for, asks for nothing again', async () => {
    const world = new GpuWorld();
    const doomed = world.newInstance();
    world.once(/^PATCH .*\/nodes\//, () => doomed.crash());
    const first = { id: 'a', type: 'repair_nodepool', node_name: world.node, repair: 'reboot' };
    world.begin(first, doomed);
    await world.pass(700);
    expect(world.labels()).not.to.include.keys(rebootLabel);
    expect(world.read().metadata.annotations).to.include({ [repairAnnotation]: 'a' });
    override(world);
    const second = { ...first, id: 'b', repair: 'report_faulty_host', fault: 'xid' };
    expect((await world.send(second)).status).to.equal(200);
    await world.pass(1000);
    expect(world.labels()).not.to.include.keys(faultLabel);
    expect(world.read().metadata.annotations).to.include({ [repairAnnotation]: 'b' });
    const asked = world.askedRepairs();
    const answer = await world.send(first);
    expect(answer.code, answer.error).to.equal('target_changed');
    expect(answer.error).to.match(
      /action "b" has asked for a repair of node \S+ since this action was planned/,
    );
    expect(world.askedRepairs()).to.deep.equal(asked);
    expect(world.labels()).not.to.include.keys(rebootLabel);
  });

  it('the second is carried on when it is resumed, although it found the annotation of the first', async () => {
    const world = new GpuWorld();
    const first = { id: 'a', type: 'repair_nodepool', node_name: world.node, repair: 'reboot' };
    expect((await world.send(first)).status).to.equal(200);
    await world.pass(700);
    override(world);
    const second = { ...first, id: 'b' };
    const lift = world.emulator.faults.add({
      api: 'kubernetes',
      method: 'PATCH',
      path: /\/nodes\//,
      times: Infinity,
      effect: { status: 500 },
    });
    expect((await world.send(second)).status).to.equal(502);
    lift();
    const asked = world.askedRepairs().length;
    const answer = await world.send(second);
    expect(answer.steps[0], answer.error).to.include({ outcome: 'reboot_requested' });
    expect(world.askedRepairs()).to.have.length(asked + 1);
    expect(world.read().metadata.annotations).to.include({ [repairAnnotation]: 'b' });
  });
});
