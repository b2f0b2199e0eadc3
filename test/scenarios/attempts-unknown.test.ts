import { expect } from 'chai';
import type { Fault, SentCall } from '../simulation/function-instance.ts';
import { Deadline } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { readClusterPicture } from '../../src/status/cluster-status.ts';
import type { ClusterStatus } from '../../src/status/cluster-status.ts';
import { noGkeWork } from '../fixtures/no-gke-work.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = { type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };

/** Deletes the pod at the first try; nobody hears of it. */
function createUnheard(isCarriedOut: boolean): (call: SentCall) => Fault {
  let deletions = 0;
  return ({ method, path }) => {
    if (method !== 'DELETE' || !path.includes('/pods/')) return 'none';
    return isCarriedOut && deletions++ === 0 ? 'lost_after' : 'failed_500';
  };
}

/** How the cluster stands, as the API shows it. */
async function readStatus({ emulator, time }: VirtualFailover): Promise<ClusterStatus> {
  const config = readConfig({ CLUSTERS: trainCluster });
  const clock = { now: () => time.now, sleep: async () => undefined };
  const services = createVirtualServices({ config, clock, emulator });
  const [name] = config.clusters;
  if (!name) throw new Error('no cluster is configured');
  const { kubernetes } = await services.connect(name, new Deadline(clock, 60_000));
  const { status } = await readClusterPicture(name, kubernetes, config, noGkeWork);
  return status;
}

describe('a restart of which nobody knows whether it was accepted', () => {
  const settings = { MAX_ATTEMPTS_PER_DAY: '1', COOLDOWN_SECONDS: '0' };

  // F-220: it did not count, and one more restart than the bound was possible.
  it('counts as an attempt once its attempt of the JobSet has ended', async () => {
    const failover = new VirtualFailover({ environment: settings });
    const unlucky = failover.newInstance(0, createUnheard(true));
    const first = await failover.send({ id: 'first', ...restart, node_pool: 'slice-a' }, unlucky);
    expect(first.code).to.equal('upstream_failed');
    await failover.pass(600);
    expect(failover.cluster.jobsets('default')[0]?.status?.restarts).to.equal(1);
    failover.newWrites();

    const second = await failover.send({ id: 'second', ...restart, node_pool: 'slice-b' });

    expect(second.code).to.equal('attempts_exhausted');
    expect(second.error).to.include('action first at ');
    expect((await readStatus(failover)).jobsets).to.deep.equal([
      { name: 'default/train', attempts: { max: 3, used: 1, left: 2 } },
    ]);
    const deletions = failover
      .newWrites()
      .filter(({ method, path }) => method === 'DELETE' && path.includes('/pods/'));
    expect(deletions).to.deep.equal([]);
  });

  it('does not count while its attempt goes on, because it came to nothing', async () => {
    const failover = new VirtualFailover({ environment: settings });
    const unlucky = failover.newInstance(0, createUnheard(false));
    const first = await failover.send({ id: 'first', ...restart, node_pool: 'slice-a' }, unlucky);
    expect(first.code).to.equal('upstream_failed');
    await failover.pass(600);

    const second = await failover.send({ id: 'second', ...restart, node_pool: 'slice-a' });

    expect(second.status, second.error).to.equal(200);
  });
});

/** Deletes the machine at the first try; nobody hears of it. */
function createUnheardRepair(isCarriedOut: boolean): (call: SentCall) => Fault {
  let deletions = 0;
  return ({ api, method }) => {
    if (api !== 'compute' || method !== 'DELETE') return 'none';
    return isCarriedOut && deletions++ === 0 ? 'lost_after' : 'failed_500';
  };
}

describe('a repair of which nobody knows whether it was accepted', () => {
  const settings = { MAX_ATTEMPTS_PER_DAY: '1', COOLDOWN_SECONDS: '0' };
  const repair = { type: 'repair_nodepool', node_pool: 'slice-a' };

  async function repairUnheard(isCarriedOut: boolean, environment: Record<string, string> = settings) {
    const failover = new VirtualFailover({ environment });
    const unlucky = failover.newInstance(0, createUnheardRepair(isCarriedOut));
    const first = await failover.send({ id: 'first', ...repair }, unlucky);
    expect(first.code).to.equal('upstream_failed');
    await failover.pass(1200);
    failover.newWrites();
    return failover;
  }

  const deletions = (failover: VirtualFailover) =>
    failover.newWrites().filter(({ api, method }) => api === 'compute' && method === 'DELETE');

  // F-360: it did not count, and one more repair than the bound was possible.
  it('counts as an attempt once its machine is another one', async () => {
    const failover = await repairUnheard(true);

    const second = await failover.send({ id: 'second', ...repair });

    expect(second.code).to.equal('attempts_exhausted');
    expect(second.error).to.include('action first at ');
    expect(deletions(failover)).to.deep.equal([]);
    const { pools } = await readStatus(failover);
    expect(pools.find(({ name }) => name === 'slice-a')?.attempts).to.include({ used: 1 });
  });

  it('still counts once another action has repaired the pool', async () => {
    const failover = await repairUnheard(true, { ...settings, MAX_ATTEMPTS_PER_DAY: '2' });
    expect((await failover.send({ id: 'second', ...repair })).status).to.equal(200);
    await failover.pass(1200);
    expect(deletions(failover)).to.have.length(1);

    const third = await failover.send({ id: 'third', ...repair });

    expect(third.code).to.equal('attempts_exhausted');
    expect(third.error).to.include('action first at ').and.include('action second at ');
    expect(deletions(failover)).to.deep.equal([]);
  });

  // F-360: GKE takes its label away, and nobody heard that it was set.
  it('counts as an attempt once its node says that its label was set', async () => {
    const failover = new VirtualFailover({ environment: settings });
    let labels = 0;
    const unlucky = failover.newInstance(0, ({ method, path, body }) => {
      const isLabel =
        method === 'PATCH' && path.includes('/nodes/') && JSON.stringify(body).includes('/repair');
      if (!isLabel) return 'none';
      return labels++ === 0 ? 'lost_after' : 'failed_500';
    });
    const [node] = nodeNames(failover.cluster, 'slice-a');
    const reboot = { type: 'repair_nodepool', node_name: node, repair: 'reboot' };
    expect((await failover.send({ id: 'first', ...reboot }, unlucky)).code).to.equal('upstream_failed');
    failover.cluster.change('nodes', undefined, node ?? '', ({ metadata }) => {
      metadata.labels = Object.fromEntries(
        Object.entries(metadata.labels ?? {}).filter(
          ([key]) => !key.includes('repair') && !key.includes('reboot'),
        ),
      );
    });
    await failover.pass(1200);

    const second = await failover.send({ id: 'second', ...reboot });

    expect(second.code, second.error).to.equal('attempts_exhausted');
    expect(second.error).to.include('action first at ');
  });

  it('does not count while its machine is still there, because it came to nothing', async () => {
    const failover = await repairUnheard(false);

    const second = await failover.send({ id: 'second', ...repair });

    expect(second.status, second.error).to.equal(200);
    await failover.pass(1200);
    expect(deletions(failover)).to.have.length(1);
    expect((await failover.send({ id: 'third', ...repair })).error).not.to.include('action first');
  });
});
