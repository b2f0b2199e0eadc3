import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { Switches } from '../emulator/switches.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = { type: 'cordon_nodepool_and_restart_jobset', node_pool: 'slice-a', jobset_name: 'train' };
const repair = { type: 'cordon_and_repair_nodepool', node_pool: 'slice-a' };

interface Row {
  what: string;
  action: Record<string, string>;
  turnOn: (switches: Switches) => () => void;
  verdict: string;
  why: RegExp;
  /** The verdict when the switch is turned off before the time is up. */
  afterwards: string;
}

const rows: Row[] = [
  {
    what: 'a restart without room',
    action: restart,
    turnOn: (switches) => switches.fillPool('slice-b'),
    verdict: 'not_recovered',
    why: /1 of 4 pods are Pending: 0\/\d+ nodes are available: .*4 Insufficient google\.com\/tpu/,
    afterwards: 'recovered',
  },
  {
    what: 'a restart whose only free slice has a taint',
    action: restart,
    turnOn: (switches) => switches.taintPool('slice-b'),
    verdict: 'not_recovered',
    why: /1 of 4 pods are Pending: 0\/\d+ nodes are available: .*4 node\(s\) had untolerated taint/,
    afterwards: 'recovered',
  },
  {
    what: 'a restart whose images cannot be pulled',
    action: restart,
    turnOn: (switches) => switches.failImagePulls(() => true),
    verdict: 'not_recovered',
    why: /4 of 4 pods are .*ImagePullBackOff/,
    afterwards: 'recovered',
  },
  {
    what: 'a repair that lacks a machine',
    action: repair,
    turnOn: (switches) => switches.withholdMachines('slice-a'),
    verdict: 'not_repaired',
    why: /3 of 4 nodes are back/,
    afterwards: 'repaired',
  },
  {
    what: 'a repair whose machines have no accelerators',
    action: repair,
    turnOn: (switches) => switches.withholdAccelerators('slice-a'),
    verdict: 'not_repaired',
    why: /4 of 4 nodes are Ready, but not all of their accelerators are allocatable/,
    afterwards: 'repaired',
  },
  {
    what: 'a repair whose deletion fails at Compute',
    action: repair,
    turnOn: (switches) => switches.failDeletions('slice-a'),
    verdict: 'not_repaired',
    why: /the old machine is still there/,
    // Nothing deletes the machine again.
    afterwards: 'not_repaired',
  },
];

describe('the verdict of what can be broken in the emulator', () => {
  for (const { what, action, turnOn, verdict, why, afterwards } of rows) {
    it(`is ${verdict} for ${what}`, async () => {
      const { world } = await act(action, turnOn);
      await world.pass(1801);
      await world.reconcile();
      expect(verdictOf(world)['verdict']).to.equal(verdict);
      expect(verdictOf(world)['why']).to.match(why);
    });

    it(`is ${afterwards} for ${what}, if that ends within the time`, async () => {
      const { world, turnOff } = await act(action, turnOn);
      await world.pass(600);
      expect((await world.reconcile()).waiting).to.deep.equal(['a']);
      turnOff();
      await world.pass(30);
      await world.reconcile();
      if (afterwards.startsWith('not_')) await world.pass(1801).then(() => world.reconcile());
      expect(verdictOf(world)['verdict']).to.equal(afterwards);
    });
  }

  it('is repaired for a machine that comes back on its host, and says that it is the same', async () => {
    const { world } = await act(repair, (switches) => switches.keepHosts('slice-a'));
    await world.pass(600);
    await world.reconcile();
    expect(verdictOf(world)).to.include({ verdict: 'repaired', same_host: true });
  });

  it('is repaired for a machine that comes back on another host, and says nothing of hosts', async () => {
    const { world } = await act(repair, () => () => {});
    await world.pass(600);
    await world.reconcile();
    expect(verdictOf(world)).to.include({ verdict: 'repaired' }).and.not.to.have.property('same_host');
  });
});

/** Turns a switch on and sends the action `a`. Only a repair has a pool to itself. */
async function act(
  action: Record<string, string>,
  turnOn: Row['turnOn'],
): Promise<{ world: VirtualFailover; turnOff: () => void }> {
  const world = new VirtualFailover(action === repair ? { jobSet: null } : {});
  const turnOff = turnOn(world.cluster.switches);
  const answer = await world.send({ id: 'a', ...action });
  expect(answer.status, answer.error).to.equal(200);
  return { world, turnOff };
}

function verdictOf({ cluster }: VirtualFailover): Record<string, unknown> {
  const record = cluster
    .leases(failoverNamespace)
    .find(({ metadata }) => metadata.annotations?.['autometric-failover/id'] === 'a');
  const text = record?.metadata.annotations?.['autometric-failover/verdict'];
  if (text === undefined) throw new Error('the action has no verdict');
  return JSON.parse(text) as Record<string, unknown>;
}
