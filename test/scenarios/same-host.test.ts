import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { GpuWorld, hostLabel } from '../fixtures/gpu-world.ts';
import { jsonOf } from '../fixtures/verdicts.ts';

function repair(world: GpuWorld, id: string, more: object = {}) {
  return world.send({ id, type: 'repair_nodepool', node_name: world.node, ...more });
}

function hosts({ cluster }: GpuWorld): string[] {
  return cluster
    .leases(failoverNamespace)
    .flatMap(({ metadata }) => metadata.annotations?.['autometric-failover/host'] ?? []);
}

describe('a machine that comes back on its host', () => {
  // F-268: three repairs in three weeks drew the same bad host, and each was told as the first.
  it('is told as same_host with what works, and each further fault of the host as what it is', async () => {
    const world = new GpuWorld();
    const host = world.labels()[hostLabel];
    world.cluster.switches.keepHosts('gpu-a');
    expect((await repair(world, 'first')).steps[0]?.['warning']).not.to.match(/this is fault/);
    expect(jsonOf(world, 'first', 'plan')['repair'])
      .to.include({ host })
      .and.include.keys('block', 'subblock');
    await world.minutes(4);
    const verdict = jsonOf(world, 'first', 'verdict');
    expect(verdict).to.include({ verdict: 'repaired', same_host: true });
    expect(verdict['why']).to.match(/; have the host reported: repair report_faulty_host$/);
    expect(hosts(world)).to.deep.equal([host]);

    await world.pass(7 * 86_400);
    const second = await repair(world, 'second');
    expect(second.steps[0]?.['warning']).to.match(
      /this is fault 2 of host \w+, whose machine was repaired once within 30 days \(delete by action first at .*report_faulty_host/,
    );
    await world.minutes(4);
    await world.pass(7 * 86_400);
    const third = await repair(world, 'third', { repair: 'report_faulty_host', fault: 'unspecified' });
    expect(third.steps[0]?.['warning']).to.match(
      /this is fault 3 of host \w+, .* 2 times within 30 days \(delete by action first at .*; delete by action second at /,
    );
    expect(hosts(world)).to.deep.equal([host]);
  });

  it('is forgotten after 30 days', async () => {
    const world = new GpuWorld();
    world.cluster.switches.keepHosts('gpu-a');
    await repair(world, 'first');
    await world.minutes(4);
    await world.pass(31 * 86_400);
    const later = await repair(world, 'later');
    expect(later.steps[0]?.['warning']).not.to.match(/this is fault/);
  });

  it('is no second fault where another host was drawn, or where the same action is sent again', async () => {
    const world = new GpuWorld();
    await repair(world, 'first');
    await repair(world, 'first');
    await world.minutes(4);
    await world.pass(7200);
    expect((await repair(world, 'second')).steps[0]?.['warning']).not.to.match(/this is fault/);
    expect(hosts(world)).to.have.length(2);
  });

  it('does not hold a repair up where the memory of hosts cannot be read or written', async () => {
    const world = new GpuWorld();
    world.emulator.faults.add({
      method: 'GET',
      path: /leases/,
      match: ({ query }) => query['labelSelector']?.includes('kind=host') === true,
      times: Infinity,
      effect: { status: 403 },
    });
    world.emulator.faults.add({ path: /\/host-/, times: Infinity, effect: { status: 403 } });
    const answer = await repair(world, 'first');
    expect(answer.status).to.equal(200);
    expect(answer.steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(answer.steps[0]?.['warning']).to.match(/whether host \w+ was repaired before is not known/);
  });
});
