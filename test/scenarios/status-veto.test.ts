import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { json, ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, trainCluster } from '../fixtures/train-world.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

const leasePath = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases/pool-slice-a';

// F-307: whoever looked did not see that a pool is kept away from.
describe('the status and the page, of a pool with a veto', () => {
  const served = ServedHandler.forSuite();
  let cluster: EmulatedCluster;

  beforeEach(() => {
    const emulator = new Emulator();
    cluster = createTrainWorld(emulator);
    const config = readConfig({ CLUSTERS: trainCluster });
    served.use(createVirtualServices({ config, emulator }));
  });

  function veto(text: string): void {
    const metadata = {
      name: 'pool-slice-a',
      labels: { 'autometric-failover/kind': 'pool' },
      annotations: { 'autometric-failover/veto': text },
    };
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata };
    const type = { 'content-type': 'application/apply-patch+yaml' };
    expect(cluster.ask('PATCH', `${leasePath}?fieldManager=kubectl`, lease, type).status).to.equal(201);
  }

  async function show(): Promise<{ pool: Record<string, unknown> | undefined; page: string }> {
    const url = `http://127.0.0.1:${served.port}`;
    const status = (await (await fetch(`${url}/status`, { headers: json })).json()) as {
      clusters: { pools: Record<string, unknown>[] }[];
    };
    const page = await (await fetch(`${url}/`, { headers: { Accept: 'text/html' } })).text();
    return { pool: status.clusters[0]?.pools.find(({ name }) => name === 'slice-a'), page };
  }

  it('say why and until when', async () => {
    veto('2130-01-01T00:00:00Z INC-42: <b>Alice</b> debugs it');
    const { pool, page } = await show();
    const why = 'INC-42: <b>Alice</b> debugs it';
    expect(pool?.['veto']).to.deep.equal({ why, until: '2130-01-01T00:00:00.000Z' });
    expect(page).to.match(
      /Failover is kept away<\/strong> for [^]{1,120}INC-42: &lt;b&gt;Alice&lt;\/b&gt; debugs it/,
    );
    expect(page).not.to.include('until its veto is put right');
  });

  it('ask for a person where it cannot be read', async () => {
    veto('tomorrow INC-42');
    const { pool, page } = await show();
    expect(pool?.['veto']).to.have.all.keys('why');
    expect(page).to.match(/failover is kept away from slice-a<\/strong> until its veto is put right/);
  });

  it('say nothing of one that is over', async () => {
    veto('2020-01-01T00:00:00Z INC-42');
    const { pool, page } = await show();
    expect(pool).not.to.have.property('veto');
    expect(page).not.to.include('kept away');
  });
});
