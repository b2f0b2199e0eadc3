import { expect } from 'chai';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import { createNotification } from '../fixtures/notification.ts';
import type { Answer, ServedFunction } from '../fixtures/served-function.ts';
import type { ControlPlane } from './capabilities.ts';
import { clusterFullName, createFailoverRig, functionUniqueId, functionUser } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { applyRights, describeRight, listRights, untilAllowed, withoutRight } from './function-rights.ts';
import { startOrSkip } from './start-or-skip.ts';
import type { Node } from './kubernetes-client.ts';
import { jobSetsPath } from './world.ts';
import type { JobSetSpec } from './world.ts';

/** JobSets are in a namespace of their own, so that its rights and those for Events on Nodes are told apart. */
const trainNamespace = 'research';
const system = 'autometric-failover-system';
const who = { requestor: 'test', reason: 'a host is bad' };
const byNode = { ...who, type: 'cordon_nodepool' };
const byPool = { ...byNode, node_pool: 'slice-a' };
const restart = {
  ...byPool,
  type: 'cordon_nodepool_and_restart_jobset',
  namespace: trainNamespace,
  jobset_name: 'train',
};

interface Case {
  /** What is sent; a function of the pool's node. */
  send: (failover: ServedFunction, node: string) => Promise<Answer>;
  /** The JobSet that it needs, if any. */
  jobSet?: Partial<JobSetSpec>;
  /** Without the right: a failure that the caller sees, or a warning in the log and the same answer as with it. */
  without: 'failure' | 'warning';
}

const act =
  (action: object): Case['send'] =>
  (failover) =>
    failover.send({ ...action, id: 'one-right' });

const close: Case['send'] = (failover, node) => {
  const [, project_id = '', , location = '', , cluster_name = ''] = clusterFullName.split('/');
  return failover.send(
    createNotification({
      clusterLabels: { project_id, location, cluster_name },
      state: 'closed',
      startedAt: Date.now() - 60_000,
      resource: { node_name: node },
      labels: { failover_action: 'cordon_nodepool', failover_on_close: 'uncordon_nodepool' },
    }),
    '/alerts',
  );
};

/**
 * A refused action deletes the Leases that it claimed. Of a pool's Lease from an earlier action it gives back only
 * the lock.
 */
const refused: Case['send'] = async (failover) => {
  await failover.send({ ...byPool, id: 'before' });
  return failover.send({ ...restart, id: 'one-right' });
};

/** What each right is for. The list has exactly the rights of deploy/rbac. */
const cases: Record<string, Case> = {
  'get nodes': {
    send: (failover, node) => failover.send({ ...byNode, id: 'one-right', node_name: node }),
    without: 'failure',
  },
  'list nodes': { send: act(byPool), without: 'failure' },
  'patch nodes': { send: act(byPool), without: 'failure' },
  'create events in default': { send: act(byPool), without: 'warning' },
  [`get leases in ${system}`]: { send: act(byPool), without: 'failure' },
  [`list leases in ${system}`]: { send: close, without: 'failure' },
  [`create leases in ${system}`]: { send: act(byPool), without: 'failure' },
  [`update leases in ${system}`]: { send: act(byPool), without: 'failure' },
  [`delete leases in ${system}`]: { send: refused, jobSet: { suspend: true }, without: 'warning' },
  [`get jobsets in ${trainNamespace}`]: { send: act(restart), jobSet: {}, without: 'failure' },
  [`list jobs in ${trainNamespace}`]: { send: act(restart), jobSet: {}, without: 'failure' },
  [`patch jobs in ${trainNamespace}`]: {
    send: act(restart),
    jobSet: { backoffLimit: null },
    without: 'failure',
  },
  [`delete jobs in ${trainNamespace}`]: {
    send: act(restart),
    jobSet: { failurePolicy: null },
    without: 'failure',
  },
  [`list pods in ${trainNamespace}`]: { send: act(restart), jobSet: {}, without: 'failure' },
  [`delete pods in ${trainNamespace}`]: { send: act(restart), jobSet: {}, without: 'failure' },
  [`create events in ${trainNamespace}`]: { send: act(restart), jobSet: {}, without: 'warning' },
};

describe('the rights of deploy/rbac', function () {
  let controlPlane: ControlPlane;
  let rig: FailoverRig;

  before(async function () {
    controlPlane = await startOrSkip(this, 'the function without one of its rights');
  });

  beforeEach(async () => {
    rig = await createFailoverRig(controlPlane, { namespaces: [trainNamespace] });
  });

  afterEach(async () => {
    await rig.forget();
    await rig.stop();
  });

  after(async () => {
    await controlPlane?.stop();
  });

  it('are all needed: each has a case below', () => {
    expect(Object.keys(cases)).to.have.members(listRights(rig.rights).map(describeRight));
  });

  it('are enough for a service account whose token has no e-mail', async () => {
    const other = await createFailoverRig(controlPlane, {
      user: functionUniqueId,
      namespaces: [trainNamespace],
    });
    await other.world.addTpuSlice('slice-a', { nodes: 1 });
    const { status, body } = await (await other.serve()).send({ ...byPool, id: 'unique-id' });
    await other.stop();
    expect(status, JSON.stringify(body)).to.equal(200);
  });

  it('are enough for a repair that a label asks for: the right to cordon is the right to label', async () => {
    const [node = ''] = await rig.world.addTpuSlice('slice-a', { nodes: 1 });
    const body = { ...who, type: 'repair_nodepool', node_name: node, repair: 'reboot', id: 'reboot' };
    const answer = await (await rig.serve()).send(body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    const { metadata } = await controlPlane.admin.get<Node>(`/api/v1/nodes/${node}`);
    expect(metadata.labels).to.include({ 'cloud.google.com/perform-reboot': 'true' });
    expect(rig.deletions).to.deep.equal([]);
  });

  for (const [name, { send, jobSet, without }] of Object.entries(cases)) {
    const what =
      without === 'failure' ? 'fails, saying what is missing' : 'does all else, and logs a warning';
    it(`without ${name} ${what}, and with it continue`, async () => {
      const { admin } = controlPlane;
      const right = listRights(rig.rights).find((each) => describeRight(each) === name);
      if (right === undefined) throw new Error(`deploy/rbac does not give ${name}`);
      const [node = ''] = await rig.world.addTpuSlice('slice-a', { nodes: 1 });
      if (jobSet !== undefined) await runJobSet(jobSet);
      const failover = await rig.serve();
      const denial = `may not ${right.verb} ${right.resource}${right.namespace === undefined ? '' : ` in namespace ${right.namespace}`}`;

      await applyRights(admin, withoutRight(rig.rights, right));
      await untilAllowed(admin, functionUser, right, false);
      const denied = await send(failover, node);
      await applyRights(admin, rig.rights);
      await untilAllowed(admin, functionUser, right, true);
      const lines = failover.lines.length;
      const granted = await send(failover, node);

      if (without === 'failure') {
        expect([denied.status, denied.body.code], JSON.stringify(denied.body)).to.deep.equal([
          502,
          'upstream_failed',
        ]);
        expect(denied.body.error).to.include(denial);
        expect(granted.status, JSON.stringify(granted.body)).to.equal(200);
      } else {
        const warnings = failover.lines.slice(0, lines).filter(({ severity }) => severity === 'WARNING');
        expect(JSON.stringify(warnings)).to.include(denial);
        expect([granted.status, granted.body.code]).to.deep.equal([denied.status, denied.body.code]);
      }
      expect(JSON.stringify(failover.lines.slice(lines))).not.to.include('may not');
    });
  }

  /** What reconcile needs to end an action in its verdict; all of it is among the rights above. */
  const ofReconcile: Record<string, 'cluster' | 'action' | 'warning'> = {
    [`list leases in ${system}`]: 'cluster',
    [`get jobsets in ${trainNamespace}`]: 'action',
    [`list pods in ${trainNamespace}`]: 'action',
    'list nodes': 'action',
    [`update leases in ${system}`]: 'action',
    [`create events in ${trainNamespace}`]: 'warning',
  };
  for (const [name, without] of Object.entries(ofReconcile)) {
    it(`reconcile without ${name} says what is missing, and with it continues`, async () => {
      const { admin } = controlPlane;
      const right = listRights(rig.rights).find((each) => describeRight(each) === name);
      if (right === undefined) throw new Error(`deploy/rbac does not give ${name}`);
      await rig.world.addTpuSlice('slice-a', { nodes: 1 });
      await runJobSet({});
      const failover = await rig.serve();
      expect(await failover.send({ ...restart, id: 'one-verdict' })).to.include({ status: 200 });
      await rig.allRunOn('train', 'slice-b', 1, trainNamespace);

      await applyRights(admin, withoutRight(rig.rights, right));
      await untilAllowed(admin, functionUser, right, false);
      const denied = await reconcile(failover);
      await applyRights(admin, rig.rights);
      await untilAllowed(admin, functionUser, right, true);
      const granted = await reconcile(failover);

      const denial = `may not ${right.verb} ${right.resource}${right.namespace === undefined ? '' : ` in namespace ${right.namespace}`}`;
      const settled = [{ id: 'one-verdict', verdict: 'recovered' }];
      if (without === 'warning') {
        expect(denied, denied.text).to.deep.include({ status: 200, settled, errors: [] });
        const warnings = failover.lines.filter(({ severity }) => severity === 'WARNING');
        expect(JSON.stringify(warnings)).to.include(denial);
      } else {
        expect(denied.status, denied.text).to.equal(without === 'cluster' ? 502 : 200);
        expect(denied.errors.join(), denied.text).to.include(denial);
        expect(denied.settled).to.deep.equal([]);
        expect(granted, granted.text).to.deep.include({ status: 200, settled, errors: [] });
      }
    });
  }

  async function reconcile(failover: ServedFunction) {
    const { status, body } = await failover.send({}, '/reconcile');
    const [report] = body['clusters'] as ClusterReport[];
    if (!report) throw new Error('reconcile reported no cluster');
    return { status, text: JSON.stringify(body), ...report };
  }

  /** One pod on slice-a, with slice-b free. */
  async function runJobSet(spec: Partial<JobSetSpec>): Promise<void> {
    const { suspend, ...rest } = spec;
    await rig.world.addJobSet({ name: 'train', namespace: trainNamespace, parallelism: 1, ...rest });
    await rig.allRunOn('train', 'slice-a', 1, trainNamespace);
    if (suspend) {
      await controlPlane.admin.patch(`${jobSetsPath(trainNamespace)}/train`, { spec: { suspend } });
    }
    await rig.world.addTpuSlice('slice-b', { nodes: 1 });
  }
});
