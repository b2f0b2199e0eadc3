import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { EmulatedCluster } from '../emulator/cluster.ts';
import { Emulator } from '../emulator/emulator.ts';
import { json, ServedHandler } from '../fixtures/served-handler.ts';
import { createTrainWorld, nodeNames, trainCluster } from '../fixtures/train-world.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';
import { createVirtualServices } from '../fixtures/virtual-services.ts';

type Json = Record<string, unknown>;

describe('what GET /status shows of GKE', () => {
  const served = ServedHandler.forSuite();
  let emulator: Emulator;
  let cluster: EmulatedCluster;

  beforeEach(() => {
    emulator = new Emulator();
    cluster = createTrainWorld(emulator);
    const config = readConfig({ CLUSTERS: trainCluster });
    const { connect, readGkeWork } = createVirtualServices({ config, emulator });
    served.use({ config, connect, readGkeWork });
  });

  async function status(): Promise<Json> {
    const response = await fetch(`http://127.0.0.1:${served.port}/status`);
    expect(response.status).to.equal(200);
    const { clusters } = (await response.json()) as { clusters: Json[] };
    return clusters[0] ?? {};
  }

  async function pools(): Promise<Json[]> {
    return (await status())['pools'] as Json[];
  }

  it('is nothing while it does nothing', async () => {
    const shown = await status();
    expect(shown).not.to.have.property('warnings');
    for (const pool of shown['pools'] as Json[]) {
      expect(pool).not.to.have.any.keys('operations', 'gke_status');
    }
  });

  it('is its operations, pool by pool, and what it says of the pool', async () => {
    const [node = ''] = nodeNames(cluster, 'slice-a');
    cluster.switches.hangAutoRepair('slice-a', node);
    cluster.switches.operateOn(undefined, 'UPGRADE_MASTER');
    const [a, b] = await pools();
    expect(a).to.include({ gke_status: 'RECONCILING' });
    const [operation, ...others] = (a?.['operations'] ?? []) as Json[];
    expect(others).to.deep.equal([]);
    expect(operation).to.include({ type: 'AUTO_REPAIR_NODES', node });
    expect(operation?.['since']).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(operation?.['name']).to.match(/^operation-/);
    expect(b).not.to.have.any.keys('operations', 'gke_status');
  });

  it('is what could not be asked, and the rest as ever', async () => {
    emulator.faults.add({ api: 'container', path: /operations$/, times: Infinity, effect: toAnswer(403) });
    cluster.switches.upgradePool('slice-a');
    const shown = await status();
    expect(shown['warnings']).to.have.length(1);
    expect(String(shown['warnings'])).to.include('grant container.operations.list');
    const [a] = shown['pools'] as Json[];
    expect(a).to.include({ gke_status: 'RECONCILING' }).and.not.to.have.property('operations');
    expect(a?.['nodes']).to.deep.equal({ total: 4, ready: 4 });
  });

  it('is what an action has left to it', async () => {
    cluster.switches.hangAutoRepair('slice-a');
    const repair = { id: 'r', type: 'repair_nodepool', node_pool: 'slice-a', requestor: 'a', reason: 'b' };
    const body = JSON.stringify(repair);
    await fetch(`http://127.0.0.1:${served.port}/actions`, { method: 'POST', headers: json, body });
    const response = await fetch(`http://127.0.0.1:${served.port}/actions/r`);
    const shown = (await response.json()) as Json;
    expect(shown).to.include({ state: 'done' });
    const { repair: plan } = shown['plan'] as { repair: Json };
    expect(plan).to.include({ left_to_gke: 'gke_is_repairing' });
    expect(plan['gke']).to.match(/^GKE repairs node pool slice-a/);
    expect(shown['observed']).to.deep.include({ nodes: { total: 4, ready: 4, cordoned: 0 } });
  });
});
