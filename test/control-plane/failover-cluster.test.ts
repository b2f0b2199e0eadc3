import { expect } from 'chai';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import type { JobSet, Node } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';
import { jobSetsPath } from './world.ts';
import type { JobSetSpec } from './world.ts';
import { withoutHistory } from '../fixtures/without-history.ts';

const who = { requestor: 'test', reason: 'a host is bad' };
let next = 0;

describe('the function against a real control plane', function () {
  let controlPlane: ControlPlane;
  let rig: FailoverRig;

  before(async function () {
    controlPlane = await startOrSkip(this, 'the function against a real control plane');
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

  /** A JobSet that runs on slice-a, with slice-b free. */
  async function runOnSliceA(spec: Partial<JobSetSpec> = {}): Promise<string> {
    const name = `train-${next++}`;
    await rig.world.addTpuSlice('slice-a');
    await rig.world.addJobSet({ name, ...spec });
    await allRunOn(name, 'slice-a');
    await rig.world.addTpuSlice('slice-b');
    return name;
  }

  const nodesOf = (pool: string): Promise<Node[]> => rig.nodesOf(pool);
  const isCordoned = (pool: string): Promise<boolean> => rig.isCordoned(pool);
  const readJobSet = (name: string): Promise<JobSet> => rig.readJobSet(name);
  const allRunOn = (name: string, pool: string): Promise<void> => rig.allRunOn(name, pool, 16);

  const rows: { title: string; spec: Partial<JobSetSpec>; way: string }[] = [
    { title: 'backoffLimit 0', spec: {}, way: 'leader_pod' },
    { title: 'backoffLimit 6', spec: { backoffLimit: null }, way: 'job_deadline' },
    {
      title: 'BlockingRecreate',
      spec: { failurePolicy: { maxRestarts: 3, restartStrategy: 'BlockingRecreate' } },
      way: 'leader_pod',
    },
    {
      title: 'podReplacementPolicy Failed',
      spec: { job: { podReplacementPolicy: 'Failed' } },
      way: 'job_deadline',
    },
  ];
  for (const { title, spec, way } of rows) {
    it(`cordons the pool and moves the JobSet to the other one: ${title}`, async () => {
      const name = await runOnSliceA(spec);
      const failover = await rig.serve();
      const action = {
        ...who,
        id: `move-${name}`,
        type: 'cordon_nodepool_and_restart_jobset',
        jobset_name: name,
        node_pool: 'slice-a',
      };
      const { status, body } = await failover.send(action);
      expect(status, JSON.stringify(body)).to.equal(200);
      expect(body.steps?.[0]).to.deep.include({ step: 'cordon', cordoned: 16 });
      expect(body.steps?.[1]).to.deep.include({ step: 'restart', outcome: 'restarted', way });
      expect(await isCordoned('slice-a')).to.equal(true);
      await allRunOn(name, 'slice-b');
      expect((await readJobSet(name)).status).to.deep.include({ restarts: 1, restartsCountTowardsMax: 1 });
    });
  }

  const restart = (name: string, more: object = {}) => ({
    ...who,
    id: `restart-${name}`,
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: name,
    node_pool: 'slice-a',
    ...more,
  });

  async function nodeOfPod(jobSet: string, completionIndex: string): Promise<string> {
    const pod = (await rig.world.pods(jobSet)).find(
      ({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === completionIndex,
    );
    return pod?.spec.nodeName ?? '';
  }

  const deadNodes: { title: string; index: string; spec: Partial<JobSetSpec> }[] = [
    { title: "the leader's node is dead", index: '0', spec: {} },
    { title: "a follower's node is dead", index: '7', spec: {} },
    {
      title: "a follower's node is dead, and the Job is ended by its deadline",
      index: '7',
      spec: { backoffLimit: null },
    },
    {
      title: 'a node is dead, with podReplacementPolicy Failed',
      index: '0',
      spec: { job: { podReplacementPolicy: 'Failed' } },
    },
  ];
  for (const { title, index, spec } of deadNodes) {
    it(`moves the JobSet: ${title}`, async () => {
      const name = await runOnSliceA(spec);
      const dead = await nodeOfPod(name, index);
      await rig.world.killNode(dead, { notReadyForSeconds: 120 });
      const failover = await rig.serve();
      const { status, body } = await failover.send(restart(name, { node_name: dead }));
      expect(status, JSON.stringify(body)).to.equal(200);
      await allRunOn(name, 'slice-b');
      expect((await readJobSet(name)).status?.restarts).to.equal(1);
    });
  }

  it('restarts both replicated Jobs once if one of their slices is bad', async () => {
    const name = await runTwoJobs();
    const failover = await rig.serve();
    const { status, body } = await failover.send(restart(name));
    expect(status, JSON.stringify(body)).to.equal(200);
    await eventually('both Jobs run outside slice-a', async () => {
      const bad = new Set((await nodesOf('slice-a')).map(({ metadata }) => metadata.name));
      const running = await rig.world.runningPods(name);
      return running.length === 8 && running.every(({ spec }) => !bad.has(spec.nodeName ?? ''));
    });
    expect((await readJobSet(name)).status?.restarts).to.equal(1);
  });

  async function runTwoJobs(): Promise<string> {
    const name = `train-${next++}`;
    for (const pool of ['slice-a', 'slice-b']) await rig.world.addTpuSlice(pool, { nodes: 4 });
    await rig.world.addJobSet({
      name,
      parallelism: 4,
      replicatedJobs: [{ name: 'actors' }, { name: 'learners' }],
    });
    await eventually('both Jobs run', async () => (await rig.world.runningPods(name)).length === 8);
    await rig.world.addTpuSlice('slice-c', { nodes: 4 });
    return name;
  }

  const endedByFailure: { title: string; spec: Partial<JobSetSpec>; text: RegExp }[] = [
    { title: 'has no failurePolicy', spec: { failurePolicy: null }, text: /no failurePolicy/ },
    {
      title: 'has used up its restarts',
      spec: { failurePolicy: { maxRestarts: 0 } },
      text: /used up its restarts/,
    },
    {
      title: 'has a rule that says FailJobSet',
      spec: { failurePolicy: { maxRestarts: 3, rules: [{ name: 'rule', action: 'FailJobSet' }] } },
      text: /would fail for good/,
    },
  ];
  for (const { title, spec, text } of endedByFailure) {
    it(`moves a JobSet that ${title}, which a deleted leader ends, by deleting its Job`, async () => {
      const name = await runOnSliceA(spec);
      const failover = await rig.serve();
      const { status, body } = await failover.send(restart(name));
      expect(status, JSON.stringify(body)).to.equal(200);
      const step = body.steps?.at(-1);
      expect(step).to.include({ outcome: 'restarted', way: 'jobs_recreated', attempt: 0, jobs: 1 });
      expect(step?.['why']).to.match(text);
      await allRunOn(name, 'slice-b');
      const moved = await readJobSet(name);
      expect(moved.status?.restarts ?? 0).to.equal(0);
      expect(moved.status?.conditions?.filter(({ type }) => type === 'Failed') ?? []).to.deep.equal([]);
      // The proof: what a deleted leader does to it.
      const leader = (await rig.world.pods(name)).find(
        ({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '0',
      );
      await controlPlane.admin.request('DELETE', `/api/v1/namespaces/default/pods/${leader?.metadata.name}`, {
        body: { gracePeriodSeconds: 0 },
      });
      await eventually('the JobSet has failed', async () => {
        const { status: is } = await readJobSet(name);
        return is?.conditions?.some(
          (condition) => condition.type === 'Failed' && condition.status === 'True',
        );
      });
    });
  }

  it('refuses to restart a suspended JobSet', async () => {
    const name = await runOnSliceA();
    await controlPlane.admin.patch(`${jobSetsPath('default')}/${name}`, { spec: { suspend: true } });
    const failover = await rig.serve();
    const { status, body } = await failover.send(restart(name));
    expect([status, body.code]).to.deep.equal([409, 'restart_refused']);
    expect(body.error).to.match(/suspended/);
  });

  it('finds the pool by the JobSet alone, and the same action sent again does not touch the new pool', async () => {
    const name = await runOnSliceA();
    const failover = await rig.serve();
    const { node_pool: _pool, ...action } = restart(name);
    const { status, body } = await failover.send(action);
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.[0]).to.deep.include({ step: 'cordon', target: 'slice-a', cordoned: 16 });
    await allRunOn(name, 'slice-b');
    const again = await failover.send(action);
    expect(again).to.have.property('status', 200);
    expect(withoutHistory(again.body)).to.deep.equal(body);
    expect((await nodesOf('slice-b')).some(({ spec }) => spec.unschedulable)).to.equal(false);
    expect((await readJobSet(name)).status?.restarts).to.equal(1);
  });

  it('cordons the pool, and does not restart a JobSet that moved by itself before the alert', async () => {
    const name = await runOnSliceA();
    for (const { metadata } of await nodesOf('slice-a')) {
      await controlPlane.admin.patch(`/api/v1/nodes/${metadata.name}`, { spec: { unschedulable: true } });
    }
    const leader = (await rig.world.pods(name)).find(
      ({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '0',
    );
    await controlPlane.admin.request('DELETE', `/api/v1/namespaces/default/pods/${leader?.metadata.name}`, {
      body: { gracePeriodSeconds: 0 },
    });
    await allRunOn(name, 'slice-b');
    const before = (await rig.world.runningPods(name)).map(({ metadata }) => metadata.uid).sort();
    const failover = await rig.serve();
    const { status, body } = await failover.send(restart(name));
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.[0]).to.deep.include({ cordoned: 0, already_cordoned: 16 });
    expect(body.steps?.[1]).to.deep.include({ outcome: 'not_on_pool' });
    expect((await rig.world.runningPods(name)).map(({ metadata }) => metadata.uid).sort()).to.deep.equal(
      before,
    );
    expect((await readJobSet(name)).status?.restarts).to.equal(1);
  });

  it('restarts a JobSet once if four of its slices become bad at once', async () => {
    const name = `train-${next++}`;
    const bad = ['slice-a', 'slice-b', 'slice-c', 'slice-d'];
    for (const pool of bad) await rig.world.addTpuSlice(pool, { nodes: 4 });
    await rig.world.addJobSet({ name, parallelism: 4, replicatedJobs: [{ name: 'workers', replicas: 4 }] });
    await eventually('all four slices work', async () => (await rig.world.runningPods(name)).length === 16);
    for (const pool of ['slice-e', 'slice-f', 'slice-g', 'slice-h']) {
      await rig.world.addTpuSlice(pool, { nodes: 4 });
    }
    const instances = [
      await rig.serve({ MAX_POOLS_PER_HOUR: '5' }),
      await rig.serve({ MAX_POOLS_PER_HOUR: '5' }),
    ] as const;
    const send = (pool: string, index: number) =>
      instances[index % 2 === 0 ? 0 : 1].send(restart(name, { id: `${name}-${pool}`, node_pool: pool }));
    const answers = await Promise.all(bad.map(send));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
    await eventually('all run elsewhere', async () => {
      const nodes = new Set(
        (await Promise.all(bad.map(nodesOf))).flat().map(({ metadata }) => metadata.name),
      );
      const running = await rig.world.runningPods(name);
      return running.length === 16 && running.every(({ spec }) => !nodes.has(spec.nodeName ?? ''));
    });
    expect((await readJobSet(name)).status).to.deep.include({ restarts: 1, restartsCountTowardsMax: 1 });
    for (const pool of bad) expect(await isCordoned(pool), pool).to.equal(true);
  });

  // F-300: no other slice was free, and the run waited for one.
  it('counts the slices that are free, and repairs the pool in place where none is', async () => {
    const name = await runOnSliceA();
    const failover = await rig.serve();
    const spareOf = async (id: string) => {
      const { body } = await failover.send(restart(name, { id, dry_run: true }));
      return body.steps?.[1]?.['spare'];
    };
    expect(await spareOf(`free-${name}`)).to.deep.equal({ slices: 1, needed: 1 });
    const other = `other-${name}`;
    await rig.world.addJobSet({ name: other });
    await rig.allRunOn(other, 'slice-b', 16);
    expect(await spareOf(`full-${name}`)).to.deep.equal({ slices: 0, needed: 1 });

    const refused = await failover.send(restart(name, { when_no_spare: 'refuse', id: `refuse-${name}` }));
    expect([refused.status, refused.body.code]).to.deep.equal([409, 'restart_refused']);
    expect(refused.body.error).to.include(`slice-b has JobSet default/${other}`);
    expect(await isCordoned('slice-a')).to.equal(false);

    const id = `in-place-${name}`;
    const { status, body } = await failover.send(restart(name, { when_no_spare: 'repair', id }));
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.map(({ step, outcome }) => [step, outcome])).to.deep.equal([
      ['cordon', undefined],
      ['restart', 'restarted'],
      ['repair', 'deletion_accepted'],
    ]);
    await eventually('the run is back in place', async () => {
      await fetch(`${failover.url}/reconcile`, { method: 'POST' });
      const shown = await fetch(`${failover.url}/actions/${id}`);
      const { verdict } = (await shown.json()) as { verdict?: { verdict: string } };
      return verdict?.verdict === 'recovered';
    });
    await allRunOn(name, 'slice-a');
    expect(rig.deletions).to.have.length(1);
    const cordoned = (await nodesOf('slice-a')).filter(({ spec }) => spec.unschedulable === true);
    expect(cordoned).to.have.length(0);
    expect((await readJobSet(name)).status).to.deep.include({ restarts: 1 });
  });

  it('repairs a slice once, and answers a duplicate from the record', async () => {
    await rig.world.addTpuSlice('slice-a', { nodes: 4 });
    const failover = await rig.serve();
    const action = {
      ...who,
      id: `repair-${next++}`,
      type: 'cordon_and_repair_nodepool',
      node_pool: 'slice-a',
    };
    const answers = await Promise.all([failover.send(action), failover.send(action), failover.send(action)]);
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200]);
    expect(withoutHistory(answers[1]?.body)).to.deep.equal(withoutHistory(answers[0]?.body));
    expect(rig.deletions).to.have.length(1);
    expect(answers[0]?.body.steps?.[1]).to.deep.include({
      outcome: 'deletion_accepted',
      instance_id: rig.deletions[0],
    });
    const again = await failover.send({ ...action, id: `${action.id}-again` });
    expect([again.status, again.body.code]).to.deep.equal([429, 'rate_limited']);
    expect(rig.deletions).to.have.length(1);
  });

  it('uncordons what it cordoned, and keeps the cordon that a person made', async () => {
    await rig.world.addTpuSlice('slice-a', { nodes: 4 });
    const [theirs, taken, ...ours] = (await nodesOf('slice-a')).map(({ metadata }) => metadata.name);
    const set = (node: string | undefined, unschedulable: boolean) =>
      controlPlane.admin.patch(`/api/v1/nodes/${node}`, { spec: { unschedulable } });
    await set(theirs, true);
    const failover = await rig.serve();
    const pool = { ...who, node_pool: 'slice-a' };
    const cordoned = await failover.send({ ...pool, id: `cordon-${next++}`, type: 'cordon_nodepool' });
    expect(cordoned.body.steps?.[0]).to.deep.include({ cordoned: 3, already_cordoned: 1 });
    // A person makes one of ours theirs.
    await set(taken, false);
    await set(taken, true);
    const uncordoned = await failover.send({ ...pool, id: `uncordon-${next++}`, type: 'uncordon_nodepool' });
    expect(uncordoned.status, JSON.stringify(uncordoned.body)).to.equal(200);
    expect(uncordoned.body.steps?.[0]).to.deep.include({ uncordoned: 2, kept: 2 });
    const open = (await nodesOf('slice-a')).filter(({ spec }) => !spec.unschedulable);
    expect(open.map(({ metadata }) => metadata.name).sort()).to.deep.equal(ours.sort());
  });
});
