import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import type { ServedFunction } from '../fixtures/served-function.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig, functionUniqueId, functionUser } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { applyRights, renderRights } from './function-rights.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { KubernetesList, KubernetesObject, Pod } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';

const namespace = 'autometric-failover-system';
const cronJobsPath = `/apis/batch/v1/namespaces/${namespace}/cronjobs`;
const jobsPath = `/apis/batch/v1/namespaces/${namespace}/jobs`;
const podsPath = `/api/v1/namespaces/${namespace}/pods`;
const label = 'example.com/burn-in';
const repair = {
  type: 'cordon_and_repair_nodepool',
  node_pool: 'slice-a',
  uncordon_when_repaired: true,
  requestor: 'test',
  reason: 'a host is bad',
};

const cronJob = {
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'burn-in', namespace },
  spec: {
    schedule: '0 0 1 1 *',
    suspend: true,
    jobTemplate: {
      spec: {
        backoffLimit: 0,
        template: {
          spec: {
            restartPolicy: 'Never',
            containers: [{ name: 'test', image: 'test', resources: { limits: { 'google.com/tpu': '4' } } }],
          },
        },
      },
    },
  },
};

interface Job extends KubernetesObject {
  spec: Record<string, unknown>;
}

describe('the test of a repaired pool on a real control plane', function () {
  let controlPlane: ControlPlane;
  let rig: FailoverRig;

  before(async function () {
    controlPlane = await startOrSkip(this, 'the test of a repaired pool on a real control plane');
    rig = await createFailoverRig(controlPlane);
    await controlPlane.admin.post(cronJobsPath, cronJob);
  });

  afterEach(async () => {
    await rig.world.removeAll();
    await rig.forget();
  });

  after(async () => {
    await rig?.stop();
    await controlPlane?.stop();
  });

  async function reconcile({ url }: Pick<ServedFunction, 'url'>): Promise<ClusterReport> {
    const response = await fetch(`${url}/reconcile`, { method: 'POST' });
    const [report] = ((await response.json()) as { clusters: ClusterReport[] }).clusters;
    if (!report) throw new Error('no cluster');
    return report;
  }

  /** Reconciles until the action has its verdict. */
  function settle(failover: ServedFunction, id: string): Promise<Record<string, unknown>> {
    return eventually(`action ${id} is settled`, async () => {
      const report = await reconcile(failover);
      const response = await fetch(`${failover.url}/actions/${id}`);
      const action = (await response.json()) as { state?: string; verdict?: Record<string, unknown> };
      if (action.state === 'settled' && action.verdict) return action.verdict;
      throw new Error(JSON.stringify({ report, action }));
    });
  }

  const jobs = async () => (await controlPlane.admin.get<KubernetesList<Job>>(jobsPath)).items ?? [];
  const pods = async () => (await controlPlane.admin.get<KubernetesList<Pod>>(podsPath)).items ?? [];

  it('stays cordoned without the rights for Jobs, and says so', async () => {
    await rig.world.addTpuSlice('slice-a', { nodes: 2 });
    const failover = await rig.serve();
    expect(await failover.send({ ...repair, id: 'no-rights', accept: 'burn-in' })).to.include({
      status: 200,
    });
    const verdict = await settle(failover, 'no-rights');
    expect(verdict).to.include({ verdict: 'not_accepted' });
    expect(verdict['why']).to.match(/could not be made: the Kubernetes API answered 403/);
    expect(await rig.isCordoned('slice-a')).to.equal(true);
    expect(await jobs()).to.deep.equal([]);
  });

  it('is a Job with a pod on each cordoned node, and its end releases the pool', async () => {
    const names = { email: functionUser, uniqueId: functionUniqueId, namespaces: ['default'] };
    await applyRights(controlPlane.admin, await renderRights({ ...names, acceptance: true }));
    const nodes = await rig.world.addTpuSlice('slice-a', { nodes: 2 });
    const failover = await rig.serve();
    expect(await failover.send({ ...repair, id: 'by-job', accept: 'burn-in' })).to.include({ status: 200 });
    const running = await eventually('the test runs', async () => {
      await reconcile(failover);
      const bound = (await pods()).filter(({ spec }) => spec.nodeName !== undefined);
      return bound.length === 2 && bound;
    });
    expect(running.map(({ spec }) => spec.nodeName)).to.have.members(nodes);
    expect(await rig.isCordoned('slice-a')).to.equal(true);
    const [job, ...others] = await jobs();
    expect(others).to.deep.equal([]);
    // What Kubernetes has filled in of the template leaves it to the function to say how many pods there are.
    expect(job?.spec).to.include({
      parallelism: 2,
      completions: 2,
      completionMode: 'Indexed',
      backoffLimit: 0,
    });
    for (const { metadata } of running) {
      const body = { status: { phase: 'Succeeded' } };
      const path = `${podsPath}/${metadata.name}/status`;
      await controlPlane.admin.request('PATCH', path, { body, contentType: patchTypes.merge });
    }
    expect(await settle(failover, 'by-job')).to.include({ verdict: 'repaired' });
    expect(await jobs()).to.have.length(1);
    await eventually('the pool is released', async () => !(await rig.isCordoned('slice-a')));
  });

  it('is a label that each node must get since the repair', async () => {
    const nodes = await rig.world.addTpuSlice('slice-a', { nodes: 2 });
    const failover = await rig.serve();
    expect(await failover.send({ ...repair, id: 'by-label', accept: label })).to.include({ status: 200 });
    const doneAt = await eventually('the test is waited for', async () => {
      await reconcile(failover);
      const response = await fetch(`${failover.url}/actions/by-label`);
      const action = (await response.json()) as { acceptance?: object; done_at: string };
      return action.acceptance !== undefined && Date.parse(action.done_at);
    });
    expect((await reconcile(failover)).waiting).to.deep.equal(['by-label']);
    expect(await rig.isCordoned('slice-a')).to.equal(true);
    // The API server tells in whole seconds when a label was set. In the second of the repair, it could be from before.
    await delay(Math.ceil(doneAt / 1000) * 1000 - Date.now());
    for (const node of nodes) {
      await controlPlane.admin.patch(`/api/v1/nodes/${node}`, {
        metadata: { labels: { [label]: 'passed' } },
      });
    }
    const verdict = await settle(failover, 'by-label');
    expect(verdict).to.include({ verdict: 'repaired' });
    expect(verdict).to.have.property('accepted_at');
    expect(await rig.isCordoned('slice-a')).to.equal(false);
  });
});
