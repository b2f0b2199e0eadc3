import { expect } from 'chai';
import type { Switches } from '../emulator/switches.ts';
import type { FaultEffect } from '../emulator/faults.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { createNotification } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';
import { toAnswer } from '../fixtures/upstream-answer.ts';
import { isOpen, jsonOf, repairOfSlice, restartOfTrain, verdictLines } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';
import type { VirtualAnswer } from '../fixtures/virtual-failover.ts';

// What GKE does to a pool by itself, and what that means for each effect of an action on it.

const repairOnly = { ...repairOfSlice, type: 'repair_nodepool' };
const cordonOnly = { ...repairOfSlice, type: 'cordon_nodepool' };
const operations = { api: 'container', path: /\/operations$/ } as const;

interface Row {
  what: string;
  turnOn: (switches: Switches, world: VirtualFailover) => unknown;
  /** The outcome of a repair, or the code that refuses it. */
  repair: string;
  /** What the answer says of it. */
  says: RegExp;
  /** The warning of a cordon. */
  cordonWarns?: RegExp;
}

const rows: Row[] = [
  {
    // F-251: GKE was repairing the slice. A second deletion began its repair anew.
    what: 'repairs a machine of the slice',
    turnOn: (switches) => switches.hangAutoRepair('slice-a'),
    repair: 'gke_is_repairing',
    says: /^GKE repairs node pool slice-a, node gke-tpu-\S+ since 2026-11-23T03:00:00Z \(AUTO_REPAIR_NODES, operation-/,
  },
  {
    // F-252: a machine was deleted under an upgrade, which waited for it and then failed.
    what: 'upgrades the pool',
    turnOn: (switches) => switches.operateOn('slice-a', 'UPGRADE_NODES'),
    repair: 'pool_busy',
    says: /^GKE works on node pool slice-a since 2026-11-23T03:00:00Z \(UPGRADE_NODES, operation-.*nothing was touched/,
  },
  {
    what: 'upgrades the pool and drains a node',
    turnOn: (switches) => switches.upgradePool('slice-a'),
    repair: 'pool_busy',
    says: /UPGRADE_NODES/,
    cordonWarns:
      /^GKE drains gke-tpu-\S+ for an upgrade or a resize \(label operation.gke.io\/type=drain\), and nodes/,
  },
  {
    what: 'changes how many machines the pool has',
    turnOn: (switches) => switches.operateOn('slice-a', 'SET_NODE_POOL_SIZE'),
    repair: 'pool_busy',
    says: /SET_NODE_POOL_SIZE/,
  },
  {
    // F-253: the autoscaler was removing the machines, and a repair made one anew that nobody wanted.
    what: 'scales the slice down',
    turnOn: (switches) => switches.scaleDown('slice-a'),
    repair: 'node_leaving',
    says: /^the autoscaler removes node gke-tpu-\S+ \(taint ToBeDeletedByClusterAutoscaler\)$/,
  },
  {
    what: 'deletes the pool',
    turnOn: (switches) => switches.deletePool('slice-a'),
    repair: 'node_leaving',
    says: /^GKE deletes node pool slice-a since .* \(DELETE_NODE_POOL/,
  },
  {
    // F-254: the host was under maintenance, which keeps the machine. A repair gave its place away.
    what: 'maintains a host',
    turnOn: (switches) => switches.maintainHost('slice-a'),
    repair: 'under_maintenance',
    says: /^GKE maintains the host of gke-tpu-\S+ \(label cloud.google.com\/active-node-maintenance=ONGOING\)$/,
    cordonWarns: /^GKE maintains the host of gke-tpu-/,
  },
  {
    what: 'upgrades another pool and the control plane',
    turnOn(switches) {
      switches.upgradePool('slice-b');
      switches.operateOn(undefined, 'UPGRADE_MASTER');
      switches.operateOn(undefined, 'UPDATE_CLUSTER');
    },
    repair: 'deletion_accepted',
    says: /^$/,
  },
];

describe('while GKE', () => {
  for (const row of rows) {
    describe(row.what, () => {
      for (const action of [repairOnly, repairOfSlice]) {
        it(`${action.type}: ${row.repair}`, () => meetRepair(row, action));
      }

      it('a dry run of a repair says the same and touches nothing', async () => {
        const world = begin(row);
        const { status, steps } = await world.send({ ...repairOnly, dry_run: true });
        expect(status).to.equal(200);
        const told = steps.find(({ step }) => step === (row.repair === 'pool_busy' ? 'limits' : 'repair'));
        if (row.repair === 'pool_busy') {
          expect(told).to.include({ outcome: 'would_refuse', code: 'pool_busy' });
          expect(told?.['why']).to.match(row.says);
        } else {
          expect(told?.['outcome']).to.equal(
            row.repair === 'deletion_accepted' ? 'would_delete' : row.repair,
          );
          expect(told?.['gke'] ?? '').to.match(row.says);
        }
        expect(countEffects(world.newWrites())).to.deep.equal({});
      });

      it('a cordon and a restart go on', async () => {
        const world = begin(row);
        const cordoned = await world.send({ ...cordonOnly, id: 'c' });
        expect(cordoned.steps).to.have.length(1);
        if (row.cordonWarns) expect(cordoned.steps[0]?.['warning']).to.match(row.cordonWarns);
        else expect(cordoned.steps[0]).not.to.have.property('warning');
        const restarted = await world.send(restartOfTrain);
        expect(restarted.steps[1]).to.include({ outcome: 'restarted' });
        expect(countEffects(world.newWrites())).to.deep.equal({ 'PATCH nodes': 4, 'DELETE pods': 1 });
        await world.pass(5);
        expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
        // Only a repair asks GKE, so that a cordon is as fast as before.
        expect(world.emulator.requests.filter(({ api }) => api === 'container')).to.deep.equal([]);
      });
    });
  }

  it('repairs another node than the one that is named, the repair goes on and says so', async () => {
    const world = createGpuWorld();
    const [bad = '', other = ''] = nodeNames(world.cluster, 'gpus');
    world.cluster.switches.hangAutoRepair('gpus', other);
    const { steps } = await world.send({ ...repairOnly, node_pool: 'gpus', node_name: bad });
    expect(steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(steps[0]?.['warning']).to.match(
      new RegExp(`GKE works on node pool gpus, node ${other} since .*, and not on node ${bad} as far as`),
    );
    const left = await world.send({ ...repairOnly, id: 's', node_pool: 'gpus', node_name: other });
    // Another action has begun nothing on it; the pool cools down all the same.
    expect(left.code).to.equal('rate_limited');
  });

  it('repairs machines of a pool and names none, one that is not Ready counts as one of them', async () => {
    for (const [isDead, outcome] of [
      [true, 'gke_is_repairing'],
      [false, 'deletion_accepted'],
    ] as const) {
      const world = createGpuWorld();
      const [bad = ''] = nodeNames(world.cluster, 'gpus');
      if (isDead) world.cluster.killNode(bad);
      world.cluster.switches.operateOn('gpus', 'AUTO_REPAIR_NODES');
      const { steps } = await world.send({ ...repairOnly, node_pool: 'gpus', node_name: bad });
      expect(steps[0]).to.include({ outcome });
      expect(world.emulator.fleet.deletions).to.have.length(isDead ? 0 : 1);
    }
  });

  it('may be about to take a machine away, the repair goes on and says so', async () => {
    const world = createGpuWorld();
    const [bad = ''] = nodeNames(world.cluster, 'gpus');
    for (const key of [
      'DeletionCandidateOfClusterAutoscaler',
      'cloud.google.com/impending-node-termination',
    ]) {
      world.cluster.change('nodes', undefined, bad, ({ spec }) => {
        spec.taints = [...(spec.taints ?? []), { key, effect: 'PreferNoSchedule' }];
      });
    }
    const { steps } = await world.send({ ...repairOnly, node_pool: 'gpus', node_name: bad });
    expect(steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(steps[0]?.['warning']).to.match(/DeletionCandidate\S+: the autoscaler may remove it/);
    expect(steps[0]?.['warning']).to.match(/impending-node-termination: GKE is about to end its machine/);
  });

  it('upgrades a pool in the blue-green way, or creates it, a repair is refused by its state alone', async () => {
    for (const [state, says] of [
      [
        { updateInfo: { blueGreenInfo: { phase: 'NODE_POOL_SOAKING' } } },
        /blue-green, phase NODE_POOL_SOAKING/,
      ],
      [{ status: 'PROVISIONING' }, /its status is PROVISIONING/],
    ] as const) {
      const world = new VirtualFailover();
      answerPools(world, state);
      const answer = await world.send(repairOnly);
      expect(answer).to.include({ status: 409, code: 'pool_busy' });
      expect(answer.error).to.match(says);
      expect(countEffects(world.newWrites())).to.deep.equal({});
    }
  });

  it('drains the node, and its operations cannot be read, the label tells', async () => {
    const world = createGpuWorld();
    world.emulator.faults.add({ ...operations, times: Infinity, effect: toAnswer(403) });
    world.cluster.switches.upgradePool('gpus');
    const [draining = '', other = ''] = nodeNames(world.cluster, 'gpus');
    const left = await world.send({ ...repairOnly, node_pool: 'gpus', node_name: draining });
    expect(left.steps[0]).to.include({ outcome: 'node_leaving', replaces: 'nothing' });
    const slice = new VirtualFailover();
    slice.emulator.faults.add({ ...operations, times: Infinity, effect: toAnswer(403) });
    slice.cluster.switches.upgradePool('slice-a');
    expect(await slice.send({ ...repairOnly, node_name: nodeNames(slice.cluster, 'slice-a')[1] })).to.include(
      {
        code: 'pool_busy',
      },
    );
    const repaired = await world.send({ ...repairOnly, id: 's', node_pool: 'gpus', node_name: other });
    expect(repaired.steps[0]).to.include({ outcome: 'deletion_accepted' });
  });
});

describe('a repair that GKE makes', () => {
  // F-255: nothing was deleted, so nobody looked whether GKE's repair had come to an end.
  it('is verified like one of ours, and followed by the release of the cordon', async () => {
    const world = new VirtualFailover({ jobSet: null });
    const [bad = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(bad);
    world.cluster.switches.autoRepair('slice-a');
    await world.pass(630);
    const { steps } = await world.send({ ...repairOfSlice, uncordon_when_repaired: true });
    expect(steps[1]).to.include({ outcome: 'gke_is_repairing', target: bad });
    expect(isOpen(world, 'r')).to.equal(true);
    await world.pass(600);
    await world.reconcile();
    expect(jsonOf(world, 'r', 'verdict')).to.include({ verdict: 'repaired' });
    await world.reconcile();
    expect(isOpen(world, 'r')).to.equal(false);
    expect(countCordoned(world.cluster, 'slice-a')).to.equal(0);
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
  });

  it('is not repaired once it has had its hour and REPAIR_TIMEOUT_SECONDS, and not before', async () => {
    const world = new VirtualFailover({ jobSet: null });
    world.cluster.killNode(nodeNames(world.cluster, 'slice-a')[0] ?? '');
    world.cluster.switches.hangAutoRepair('slice-a');
    await world.send(repairOnly);
    await world.pass(5_390);
    expect((await world.reconcile()).waiting).to.deep.equal(['r']);
    await world.pass(30);
    await world.reconcile();
    expect(verdictLines(world)).to.deep.equal(['r not_repaired']);
    expect(jsonOf(world, 'r', 'verdict')['why']).to.match(
      /^not within 5400 s: the old machine is still there/,
    );
  });

  it('is repaired, too, where the machine was another one already when it was decided', async () => {
    const world = new VirtualFailover({ jobSet: null });
    const [bad = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.switches.hangAutoRepair('slice-a', bad);
    await world.pass(60);
    world.cluster.replaceInstance(bad, 'reregistered');
    await world.send({ ...repairOnly, node_name: bad });
    await world.pass(30);
    await world.reconcile();
    expect(verdictLines(world)).to.deep.equal(['r repaired']);
  });

  it('waits for GKE, where it follows from a restart that did not help', async () => {
    const world = new VirtualFailover();
    world.cluster.switches.fillPool('slice-b');
    await world.send({ ...restartOfTrain, on_failure: 'repair_nodepool' });
    const turnOff = world.cluster.switches.operateOn('slice-a', 'UPGRADE_NODES');
    await world.pass(1_201);
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    await world.pass(120);
    expect((await world.reconcile()).waiting).to.deep.equal(['a']);
    expect(world.emulator.fleet.deletions).to.deep.equal([]);
    turnOff();
    await world.reconcile();
    expect(world.emulator.fleet.deletions).to.have.length(1);
    expect(jsonOf(world, 'a', 'follow-up')).to.include({ outcome: 'done' });
  });

  it('uses up nothing of the budget, unless it cordons', async () => {
    for (const [action, status] of [
      [repairOnly, 200],
      [repairOfSlice, 429],
    ] as const) {
      const world = new VirtualFailover({ environment: { MAX_POOLS_PER_HOUR: '1' } });
      world.cluster.switches.hangAutoRepair('slice-a');
      expect((await world.send(action)).status).to.equal(200);
      expect((await world.send({ ...cordonOnly, id: 'c', node_pool: 'slice-b' })).status).to.equal(status);
    }
  });

  it('leaves nothing open where there is nothing to repair', async () => {
    for (const turnOn of [
      (switches: Switches) => switches.scaleDown('slice-a'),
      (switches: Switches) => switches.maintainHost('slice-a'),
    ]) {
      const world = new VirtualFailover();
      turnOn(world.cluster.switches);
      await world.send(repairOnly);
      expect(isOpen(world, 'r')).to.equal(false);
      expect((await world.reconcile()).waiting ?? []).to.deep.equal([]);
    }
  });
});

describe('a repair that cannot ask GKE', () => {
  // F-257: the role of an older deployment lacks container.operations.list.
  const faults: [what: string, effect: FaultEffect, says: RegExp][] = [
    ['403', toAnswer(403), /answered 403 Forbidden .*grant container\.operations\.list \(gcp-role\.yaml\)/],
    ['503', toAnswer(503), /answered 503/],
    ['429 that asks for a minute', toAnswer(429, '60'), /answered 429/],
    ['no JSON', 'malformed', /could not be reached|answered/],
    ['a reset', 'reset_before', /could not be reached, or broke the connection/],
  ];
  for (const [what, effect, says] of faults) {
    it(`goes on and says so: ${what} to its operations`, async () => {
      const world = new VirtualFailover();
      world.emulator.faults.add({ ...operations, times: Infinity, effect });
      const answer = await timed(world, repairOnly);
      expect(answer.steps[0]).to.include({ outcome: 'deletion_accepted' });
      expect(answer.steps[0]?.['warning']).to.match(/GKE's operations could not be read: the Container API/);
      expect(answer.steps[0]?.['warning']).to.match(says);
      expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE instances': 1 });
      // F-250: it may take three seconds, and no more.
      expect(answer.tookMs).to.be.below(3_000 + 1_000);
    });

    it(`is held up by no more than three seconds where all of the API answers ${what}`, async () => {
      const world = new VirtualFailover();
      world.emulator.faults.add({ api: 'container', times: Infinity, effect });
      const answer = await timed(world, { ...repairOfSlice, dry_run: true });
      expect(answer.steps[1]).to.include({ outcome: 'would_delete' });
      expect(answer.steps[1]?.['warning']).to.include('the state of its node pools could not be read');
      expect(answer.tookMs).to.be.below(3_000 + 1_000);
    });
  }

  it('waits three seconds for an API that never answers, and no longer', async () => {
    const world = new VirtualFailover();
    const mute = world.newInstance(0, ({ api }) => (api === 'container' ? 'never' : 'none'));
    const before = world.time.now;
    const { steps } = await world.send(repairOnly, mute);
    expect(world.time.now - before).to.be.within(3_000, 4_000);
    expect(steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(steps[0]?.['warning']).to.match(
      /operations could not be read: the Container API did not answer in time/,
    );
  });

  it('goes by the state of the pool, where only the operations cannot be read', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ ...operations, times: Infinity, effect: toAnswer(403) });
    const turnOff = world.cluster.switches.deletePool('slice-a');
    const left = await world.send({ ...repairOnly, dry_run: true });
    expect(left.steps[0]).to.include({ outcome: 'node_leaving' });
    expect(left.steps[0]?.['gke']).to.include('its status is STOPPING');
    expect(left.steps[0]?.['warning']).to.include('container.operations.list');
    turnOff();
    world.cluster.switches.operateOn('slice-a', 'UPGRADE_NODES');
    // RECONCILING does not say what is under way.
    const repaired = await world.send(repairOnly);
    expect(repaired.steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(repaired.steps[0]?.['warning']).to.include('GKE says that node pool slice-a is RECONCILING');
  });

  it('overcomes a single failure without a word', async () => {
    const world = new VirtualFailover();
    world.emulator.faults.add({ ...operations, effect: toAnswer(503) });
    world.cluster.switches.operateOn('slice-a', 'UPGRADE_NODES');
    expect(await world.send(repairOnly)).to.include({ code: 'pool_busy' });
  });
});

describe('a repair', () => {
  for (const dry_run of [false, true]) {
    it(`asks GKE while it reads the rest${dry_run ? ', dry, too' : ''}: no round trip more in a row`, async () => {
      const world = new VirtualFailover();
      await world.send({ ...repairOnly, dry_run });
      const { requests } = world.emulator;
      const sentAt = (path: RegExp) => [
        ...new Set(
          requests.filter((each) => each.method === 'GET' && path.test(each.path)).map(({ at }) => at),
        ),
      ];
      const [askedAt, ...later] = sentAt(/^\/v1\//);
      expect(later).to.deep.equal([]);
      // The pods of the JobSets are read for the same decision.
      expect(sentAt(/\/namespaces\/default\/pods$/)).to.deep.equal([askedAt]);
    });
  }
});

describe('a machine that may not come back', () => {
  // F-256: the machine of a flex-start pool was deleted for a fault that a reboot had mended, and none came for days.
  const label = 'cloud.google.com/gke-';
  for (const [what, labels, says] of [
    ['spot', { [`${label}spot`]: 'true', [`${label}provisioning`]: 'spot' }, /^its machines are Spot VMs/],
    ['flex-start', { [`${label}flex-start`]: 'true' }, /flex-start\), and whether another one comes/],
    ['queued', { [`${label}queued`]: 'true' }, /^its machines .*\(queued provisioning\)/],
  ] as const) {
    it(`is told of a ${what} pool, in a dry run and in the answer`, async () => {
      const world = new VirtualFailover({ slice: { labels } });
      const dry = await world.send({ ...repairOnly, dry_run: true });
      expect(dry.steps[0]?.['may_not_come_back']).to.match(says);
      const { steps } = await world.send(repairOnly);
      expect(steps[0]).to.include({ outcome: 'deletion_accepted' });
      expect(steps[0]?.['may_not_come_back']).to.match(says);
      const plan = jsonOf(world, 'r', 'plan') as { repair: { mayNotComeBack: string } };
      expect(plan.repair.mayNotComeBack).to.match(says);
    });
  }

  it('is told where Compute has none left, and not of an ordinary pool', async () => {
    const world = new VirtualFailover();
    const turnOff = world.cluster.switches.stockOut('slice-a');
    const dry = { ...repairOnly, dry_run: true };
    expect((await world.send(dry)).steps[0]?.['may_not_come_back']).to.include('GCE_STOCKOUT');
    turnOff();
    expect((await world.send(dry)).steps[0]).not.to.have.property('may_not_come_back');
  });
});

describe('an alert while GKE is at work', () => {
  const failover_action = { failover_action: 'repair_nodepool' };

  it('is acknowledged where the pool is busy, and logged as an error, because GKE makes its machines anew', async () => {
    const world = new AlertWorld();
    world.cluster.switches.operateOn('slice-a', 'UPGRADE_NODES');
    const delivery = world.publish(notificationOf(world));
    await world.deliverAll([delivery]);
    expect(delivery).to.include({ deliveries: 1, isAcknowledged: true });
    expect(delivery.answer?.body).to.include({ code: 'pool_busy' });
    expect(world.lastLine).to.include({ severity: 'ERROR', code: 'pool_busy' });
    expect(world.effects()).to.deep.equal({});
  });

  it('is done where GKE repairs, and its verdict is given', async () => {
    const world = new AlertWorld();
    world.cluster.switches.hangAutoRepair('slice-a');
    const delivery = world.publish(notificationOf(world));
    await world.deliverAll([delivery]);
    expect(delivery.answer?.body.steps?.[0]).to.include({ outcome: 'gke_is_repairing' });
    expect(world.effects()).to.deep.equal({});
    const { clusters } = await world.reconcile();
    expect(clusters[0]?.waiting).to.have.length(1);
  });

  function notificationOf(world: AlertWorld): unknown {
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    world.cluster.killNode(node);
    return createNotification({
      startedAt: world.time.now,
      labels: failover_action,
      resource: { node_name: node },
    });
  }
});

async function meetRepair(row: Row, action: typeof repairOnly): Promise<void> {
  const world = begin(row);
  const answer = await world.send(action);
  const cordons = action.type === 'repair_nodepool' ? {} : { 'PATCH nodes': 4 };
  const step = answer.steps.at(-1);
  if (row.repair === 'pool_busy') {
    expect(answer).to.include({ status: 409, code: 'pool_busy', retryAfter: '600' });
    expect(answer.error).to.match(row.says);
    expect(countEffects(world.newWrites())).to.deep.equal({});
    // It is as if it had never been sent.
    expect(isOpen(world, 'r')).to.equal(false);
    return;
  }
  expect(answer.status, answer.error).to.equal(200);
  expect(step).to.include({ step: 'repair', outcome: row.repair });
  expect(step?.['gke'] ?? '').to.match(row.says);
  const isDeleted = row.repair === 'deletion_accepted';
  // Nothing ends what runs there.
  if (!isDeleted) expect(step).not.to.have.property('warning');
  expect(countEffects(world.newWrites())).to.deep.equal({
    ...cordons,
    ...(isDeleted ? { 'DELETE instances': 1 } : {}),
  });
  expect(world.emulator.fleet.deletions).to.have.length(isDeleted ? 1 : 0);
  // The same id has the same answer.
  const again = await world.send(action);
  expect(again).to.deep.include({ isReplay: true, steps: answer.steps });
}

function begin(row: Row): VirtualFailover {
  const world = new VirtualFailover();
  row.turnOn(world.cluster.switches, world);
  return world;
}

function createGpuWorld(): VirtualFailover {
  const world = new VirtualFailover();
  world.cluster.addPool('gpus', { gpu: true, nodes: 3 });
  world.emulator.settle();
  return world;
}

/** The Container API says this of slice-a. */
function answerPools({ emulator, cluster }: VirtualFailover, state: object): void {
  const body = { nodePools: [{ name: 'slice-a', status: 'RUNNING', ...state }] };
  const path = new RegExp(`${cluster.name}$`);
  emulator.faults.add({ api: 'container', path, times: Infinity, effect: { status: 200, body } });
}

async function timed(world: VirtualFailover, action: object): Promise<VirtualAnswer & { tookMs: number }> {
  const before = world.time.now;
  const answer = await world.send({ ...action });
  return { ...answer, tookMs: world.time.now - before };
}

// F-291: a condition of a node's life, which somebody else had set, was taken for a fault of its machine.
describe('a node with a lifecycle condition of Kubernetes', () => {
  const mark = (world: VirtualFailover, type: string, index = 0) =>
    world.cluster.change('nodes', undefined, nodeNames(world.cluster, 'slice-a')[index] ?? '', (node) => {
      node.status?.conditions?.push({ type, status: 'True' });
    });

  it('MaintenanceInProgress is left alone by a repair: under_maintenance', async () => {
    const world = new VirtualFailover();
    mark(world, 'MaintenanceInProgress');
    const { steps } = await world.send(repairOnly);
    expect(steps[0]).to.include({ outcome: 'under_maintenance' });
    expect(steps[0]?.['gke']).to.match(
      /^somebody maintains node gke-tpu-\S+ \(condition MaintenanceInProgress\)$/,
    );
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('MaintenancePlanned can be repaired, and is no problem of the machine', async () => {
    const world = new VirtualFailover();
    mark(world, 'MaintenancePlanned', 2);
    const { steps } = await world.send(repairOnly);
    expect(steps[0]).to.include({ outcome: 'deletion_accepted' });
    expect(JSON.stringify(steps[0])).to.include('about to be terminated or maintained');
  });
});
