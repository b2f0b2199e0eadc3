import { expect } from 'chai';
import type { ControlPlane } from './capabilities.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { startOrSkip } from './start-or-skip.ts';
import type { JobSetSpec } from './world.ts';
import { eventually } from './eventually.ts';

/** The pods take longer to end than any test waits, so that a run which is back shows that they were given less. */
const graceSeconds = 3000;
let next = 0;

describe('restart_grace_seconds against a real control plane', function () {
  let controlPlane: ControlPlane;
  let rig: FailoverRig;

  before(async function () {
    controlPlane = await startOrSkip(this, 'restart_grace_seconds against a real control plane');
  });

  beforeEach(async () => {
    rig = await createFailoverRig(controlPlane);
  });

  afterEach(async () => {
    await rig.forget();
    await rig.stop();
  });

  after(async () => {
    await controlPlane?.stop();
  });

  const two = { replicatedJobs: [{ name: 'a' }, { name: 'b' }] };
  const rows: { title: string; spec: Partial<JobSetSpec>; way: string; restarts: number; dead?: boolean }[] =
    [
      { title: 'backoffLimit 0', spec: {}, way: 'leader_pod', restarts: 1 },
      { title: 'backoffLimit 6', spec: { backoffLimit: null }, way: 'job_deadline', restarts: 1 },
      { title: 'no failurePolicy', spec: { failurePolicy: null }, way: 'jobs_recreated', restarts: 0 },
      { title: 'two Jobs with backoffLimit 0', spec: two, way: 'leader_pod', restarts: 1 },
      {
        title: 'two Jobs with backoffLimit 6',
        spec: { ...two, backoffLimit: null },
        way: 'job_deadline',
        restarts: 1,
      },
      { title: 'a machine that has just died', spec: {}, way: 'leader_pod', restarts: 1, dead: true },
    ];
  for (const { title, spec, way, restarts, dead = false } of rows) {
    // With the rights of deploy/rbac only.
    it(`0 brings a run back whose pods would take ${graceSeconds} s to end: ${title}`, async () => {
      const name = `grace-${next++}`;
      const jobs = spec.replicatedJobs?.length ?? 1;
      const pools = Array.from({ length: jobs }, (_, index) => `slice-${index}`);
      for (const pool of pools) await rig.world.addTpuSlice(pool, { nodes: 4 });
      await rig.world.addJobSet({ name, parallelism: 4, graceSeconds, ...spec });
      const isUp = async (): Promise<boolean> => (await rig.world.runningPods(name)).length === 4 * jobs;
      await eventually('the run is up', isUp);
      const before = new Set((await rig.world.pods(name)).map(({ metadata }) => metadata.uid));
      await rig.world.addTpuSlice('slice-free', { nodes: 4 });
      const onBad = (await rig.nodesOf('slice-0')).map(({ metadata }) => metadata.name);
      if (dead) {
        const follower = (await rig.world.pods(name)).find(
          ({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '2',
        );
        await rig.world.killNode(follower?.spec.nodeName ?? '');
      }
      const failover = await rig.serve();
      const { status, body } = await failover.send({
        id: name,
        requestor: 'test',
        reason: 'a host is bad',
        type: 'cordon_nodepool_and_restart_jobset',
        jobset_name: name,
        node_pool: 'slice-0',
        restart_grace_seconds: 0,
      });
      expect(status, JSON.stringify(body)).to.equal(200);
      const step = body.steps?.at(-1);
      expect(step).to.include({ outcome: 'restarted', way, restart_grace_seconds: 0 });
      expect(step?.['ended_sooner']).to.be.at.least(3);
      await eventually('the run is back elsewhere', async () => {
        const running = await rig.world.runningPods(name);
        return (
          running.length === 4 * jobs &&
          running.every(({ metadata, spec: { nodeName = '' } }) => {
            return !before.has(metadata.uid) && !onBad.includes(nodeName);
          })
        );
      });
      expect((await rig.readJobSet(name)).status?.restarts ?? 0).to.equal(restarts);
    });
  }
});
