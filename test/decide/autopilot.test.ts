import { expect } from 'chai';
import { decide, decideDryRun } from '../../src/decide/decide.ts';
import { readConfig } from '../../src/config.ts';
import { parseAction } from '../../src/request/action.ts';
import { readRepairFacts } from '../../src/decide/repair-facts.ts';
import { readSnapshot } from '../../src/decide/snapshot.ts';
import { readSwitches } from '../../src/state/switches.ts';
import { noGkeWork } from '../fixtures/no-gke-work.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { trainCluster } from '../fixtures/train-world.ts';

const config = readConfig({ CLUSTERS: trainCluster });

/** Everything that a decision on an Autopilot cluster needs. */
async function prepare(type: string, fields: object = {}) {
  const [name] = config.clusters;
  if (!name) throw new Error('no cluster is configured');
  const world = createInMemoryWorld();
  const { kubernetes } = world;
  const body = { requestor: 't', reason: 'r', node_pool: 'slice-a', type, ...fields };
  const action = parseAction(body, config.clusters, 'generated');
  const snapshot = await readSnapshot(kubernetes, action, 'slice-a', false);
  const switches = await readSwitches(kubernetes);
  const cluster = { name, isAutopilot: true };
  const tools = {
    kubernetes,
    config,
    cluster,
    claimId: 'uuid',
    poolAnnotations: {},
    switches,
    maxPools: { count: 2, why: '' },
    repairFacts: await readRepairFacts(kubernetes, action, config, noGkeWork),
    askMachine: async () => undefined,
  };
  return { world, action, snapshot, tools };
}

// F-90: GKE drained and re-created the nodes of an Autopilot cluster that were cordoned.
describe('an action on an Autopilot cluster', () => {
  for (const [type, fields] of Object.entries({
    cordon_nodepool: {},
    cordon_nodepool_and_restart_jobset: { jobset_name: 'train' },
    cordon_and_repair_nodepool: {},
    repair_nodepool: {},
  })) {
    it(`is refused before anything is touched if it is ${type}, also in a dry run`, async () => {
      const { world, action, snapshot, tools } = await prepare(type, fields);
      for (const decideOn of [decide, decideDryRun]) {
        const refusal = await refusalOf(decideOn(action, snapshot, tools));
        expect(refusal).to.include({ code: 'repair_refused', status: 409 });
        expect(refusal.message).to.match(/^cluster demo is an Autopilot cluster/);
      }
      expect(countEffects(world.emulator.writes())).to.deep.equal({});
    });
  }

  it('says what GKE does to a node that stays cordoned, and what still works', async () => {
    const { action, snapshot, tools } = await prepare('cordon_nodepool');
    expect((await refusalOf(decide(action, snapshot, tools))).message).to.equal(
      'cluster demo is an Autopilot cluster, where GKE takes a node that stays cordoned for about 10 minutes for a broken one: ' +
        'it drains the node and creates it anew; only uncordon_nodepool works there',
    );
  });

  it('releases the cordons if it is uncordon_nodepool', async () => {
    const { action, snapshot, tools } = await prepare('uncordon_nodepool');
    expect(await decide(action, snapshot, tools)).to.deep.equal({ claimId: 'uuid' });
  });
});
