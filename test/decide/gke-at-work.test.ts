import { expect } from 'chai';
import { assertPoolNotBusy, judgeGkeWork, warnOfGkeWork } from '../../src/decide/gke-at-work.ts';
import type { GkeFacts } from '../../src/decide/gke-at-work.ts';
import type { GkeOperation, GkePool } from '../../src/gke/gke-work-answer.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import type { RepairPlan } from '../../src/plan.ts';
import { healthOf } from '../fixtures/node-health.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const drained = { 'operation.gke.io/type': 'drain' };
const maintained = { 'cloud.google.com/active-node-maintenance': 'ONGOING' };
const scaleDown = 'ToBeDeletedByClusterAutoscaler';

interface Case {
  node?: Partial<NodeHealth>;
  /** Of another node of the pool. */
  labels?: Record<string, string>;
  isMultiHost?: boolean;
  pool?: Partial<GkePool>;
  operations?: Partial<GkeOperation>[];
  unread?: string[];
}

function judge({ node = {}, labels = {}, isMultiHost = false, pool, operations = [], unread = [] }: Case) {
  const own = healthOf('gke-0', node);
  const bought = { isSpot: false, isFlexStart: false, isQueued: false };
  const whole = { status: 'RUNNING', conditions: [], upgradePhase: undefined, ...bought, ...pool };
  const facts: GkeFacts = {
    nodePool: 'pool-a',
    node: own,
    poolNodes: [own, healthOf('gke-1', { labels })],
    work: {
      pools: pool && new Map([['pool-a', whole]]),
      operations: operations.map((each) => ({
        type: 'UPGRADE_NODES',
        name: 'op',
        since: undefined,
        pool: 'pool-a',
        node: undefined,
        ...each,
      })),
      unread,
    },
  };
  return judgeGkeWork({ node: { name: own.name, uid: own.uid }, isMultiHost }, facts);
}

const outcome = (of: Case) => judge(of).found.leftTo?.outcome;
const busy = (of: Case) => judge(of).found.busy;

describe('judgeGkeWork', () => {
  it('finds nothing where GKE does nothing, or works elsewhere', () => {
    expect(judge({})).to.deep.equal({ found: {}, warnings: [] });
    expect(judge({ pool: {}, operations: [{ pool: 'pool-b', type: 'DELETE_NODE_POOL' }] })).to.deep.equal({
      found: {},
      warnings: [],
    });
  });

  it('tells what it cannot read, and then acts all the same', () => {
    expect(judge({ unread: ['no pools'] })).to.deep.equal({ found: {}, warnings: ['no pools'] });
    expect(judge({ unread: ['no pools'], node: { labels: drained } }).warnings).to.deep.equal(['no pools']);
  });

  describe('leaves a node alone that goes away:', () => {
    it('its pool or its cluster is being deleted', () => {
      const since = Date.parse('2026-11-23T03:00:00Z');
      expect(judge({ operations: [{ type: 'DELETE_NODE_POOL', since }] }).found.leftTo).to.deep.equal({
        outcome: 'node_leaving',
        why: 'GKE deletes node pool pool-a since 2026-11-23T03:00:00Z (DELETE_NODE_POOL, op)',
        since: '2026-11-23T03:00:00Z',
      });
      const cluster = { type: 'DELETE_CLUSTER', pool: undefined, name: '' };
      expect(judge({ operations: [cluster] }).found.leftTo).to.deep.equal({
        outcome: 'node_leaving',
        why: 'GKE deletes the cluster (DELETE_CLUSTER)',
      });
      expect(judge({ pool: { status: 'STOPPING' } }).found.leftTo).to.deep.include({
        outcome: 'node_leaving',
        why: 'GKE deletes node pool pool-a (its status is STOPPING)',
      });
    });

    it('the autoscaler removes it, or GKE drains it', () => {
      expect(judge({ node: { taintKeys: [scaleDown] } }).found.leftTo?.why).to.match(
        /^the autoscaler removes node gke-0/,
      );
      expect(judge({ node: { labels: drained } }).found.leftTo?.why).to.match(/^GKE drains node gke-0/);
      expect(outcome({ labels: drained })).to.equal(undefined);
      expect(outcome({ node: { labels: drained }, operations: [{ type: 'SET_LABELS' }] })).to.equal(
        'node_leaving',
      );
    });
  });

  it('calls the drain of a known upgrade an upgrade', () => {
    const { found, warnings } = judge({
      node: { labels: drained },
      operations: [{ node: 'gke-1' }],
      unread: ['x'],
    });
    expect(found).to.deep.equal({ busy: 'GKE works on node pool pool-a, node gke-1 (UPGRADE_NODES, op)' });
    expect(warnings).to.deep.equal(['x']);
  });

  describe('leaves a repair to GKE', () => {
    const repair = { type: 'AUTO_REPAIR_NODES' };
    it('of the node that GKE names, or of a slice', () => {
      expect(judge({ operations: [{ ...repair, node: 'gke-0' }] }).found.leftTo).to.deep.equal({
        outcome: 'gke_is_repairing',
        why: 'GKE repairs node pool pool-a, node gke-0 (AUTO_REPAIR_NODES, op)',
      });
      expect(outcome({ operations: [{ ...repair, node: 'gke-1' }] })).to.equal(undefined);
      expect(outcome({ operations: [{ ...repair, node: 'gke-1' }], isMultiHost: true })).to.equal(
        'gke_is_repairing',
      );
    });

    it('of a node that is not Ready, where GKE names none', () => {
      expect(outcome({ operations: [repair], node: { isReady: false } })).to.equal('gke_is_repairing');
      expect(outcome({ operations: [repair] })).to.equal(undefined);
      expect(outcome({ operations: [{ ...repair, node: 'gke-1' }], node: { isReady: false } })).to.equal(
        undefined,
      );
    });

    it('but not of the whole cluster, and nothing else that GKE does', () => {
      expect(outcome({ operations: [{ ...repair, pool: undefined }], isMultiHost: true })).to.equal(
        undefined,
      );
      expect(outcome({ operations: [{ type: 'SET_LABELS', node: 'gke-0' }] })).to.equal(undefined);
    });
  });

  describe('is busy while GKE', () => {
    it('makes machines anew, or changes how many there are', () => {
      for (const type of ['UPGRADE_NODES', 'AUTO_UPGRADE_NODES', 'SET_NODE_POOL_SIZE', 'CREATE_NODE_POOL']) {
        expect(busy({ operations: [{ type }] }), type).to.equal(
          `GKE works on node pool pool-a (${type}, op)`,
        );
        expect(busy({ operations: [{ type, pool: undefined }] }), type).to.equal(undefined);
      }
      expect(busy({ operations: [{ type: 'RESIZE_CLUSTER', pool: undefined }] })).to.match(
        /^GKE works on the cluster/,
      );
      expect(busy({ operations: [{ type: 'SET_LABELS' }] })).to.equal(undefined);
    });

    it('upgrades or creates the pool', () => {
      expect(busy({ pool: { upgradePhase: 'SOAKING' } })).to.match(
        /^GKE upgrades node pool pool-a .* SOAKING\)$/,
      );
      expect(busy({ pool: { status: 'PROVISIONING' } })).to.match(/^GKE creates node pool pool-a/);
    });

    it('drains another node of the slice', () => {
      expect(busy({ labels: drained, isMultiHost: true })).to.match(/^GKE drains gke-1 of the slice/);
      expect(busy({ labels: drained })).to.equal(undefined);
      expect(busy({ isMultiHost: true })).to.equal(undefined);
      expect(busy({ labels: drained, isMultiHost: true, node: { taintKeys: [scaleDown] } })).to.equal(
        undefined,
      );
    });
  });

  it('leaves a machine alone that is being maintained, or another one of its slice', () => {
    expect(judge({ node: { lifecycle: ['MaintenanceInProgress'] } }).found.leftTo).to.deep.equal({
      outcome: 'under_maintenance',
      why: 'somebody maintains node gke-0 (condition MaintenanceInProgress)',
    });
    expect(outcome({ node: { lifecycle: ['Other'] } })).to.equal(undefined);
    expect(judge({ node: { labels: maintained } }).found.leftTo?.why).to.match(
      /^GKE maintains the host of gke-0/,
    );
    expect(outcome({ labels: maintained })).to.equal(undefined);
    const slice = judge({
      node: { labels: maintained },
      labels: maintained,
      isMultiHost: true,
      unread: ['x'],
    });
    expect(slice.found.leftTo?.why).to.match(/gke-0.*gke-1/);
    expect(slice.warnings).to.deep.equal(['x']);
    const upgraded = judge({ node: { labels: maintained }, operations: [{}] });
    expect(upgraded.found).to.have.all.keys('busy');
  });

  it('doubts that another machine comes', () => {
    expect(judge({ pool: { isSpot: true } }).found.mayNotComeBack).to.match(/Spot VMs/);
  });

  it('warns of what else GKE does, and of what it is about to do', () => {
    const { warnings } = judge({
      operations: [{ type: 'SET_LABELS' }],
      pool: { status: 'RECONCILING' },
      unread: ['x'],
    });
    expect(warnings).to.deep.equal([
      'GKE works on node pool pool-a (SET_LABELS, op), and not on node gke-0 as far as GKE says',
      'x',
    ]);
    expect(
      judge({ pool: { status: 'RECONCILING' }, operations: [{ type: 'X', pool: undefined }] }).warnings,
    ).to.deep.equal(['GKE says that node pool pool-a is RECONCILING']);
    const taintKeys = ['DeletionCandidateOfClusterAutoscaler'];
    expect(judge({ node: { taintKeys } }).warnings).to.deep.equal([
      'node gke-0 has the taint DeletionCandidateOfClusterAutoscaler: the autoscaler may remove it',
    ]);
  });
});

describe('assertPoolNotBusy', () => {
  it('refuses a plan for a busy pool, and lets others go on', () => {
    const { code, message, headers } = refusal(() =>
      assertPoolNotBusy({ busy: 'GKE upgrades it' } as RepairPlan),
    );
    expect(`${code}: ${message}`).to.match(/^pool_busy: GKE upgrades it; nothing was touched/);
    expect(headers).to.deep.equal({ 'Retry-After': '600' });
    assertPoolNotBusy({} as RepairPlan);
    assertPoolNotBusy(undefined);
  });
});

describe('warnOfGkeWork', () => {
  const one = (labels: Record<string, string>) => healthOf('gke-0', { labels });
  it('names the nodes that GKE drains or maintains', () => {
    expect(warnOfGkeWork([one({})])).to.equal(undefined);
    expect(warnOfGkeWork([healthOf('gke-1'), one(drained)])).to.match(/^GKE drains gke-0 for [^;]*$/);
    expect(warnOfGkeWork([healthOf('gke-1'), one(maintained)])).to.match(
      /^GKE maintains the host of gke-0 [^;]*$/,
    );
    expect(warnOfGkeWork([one({ ...drained, ...maintained })])).to.match(/^GKE drains .*; GKE maintains/);
  });
});
