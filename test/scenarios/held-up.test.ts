import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import type { Pod } from '../emulator/objects.ts';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { countEffects, countWrites } from '../fixtures/count-writes.ts';
import { annotateCluster, holderOf, restarts } from '../fixtures/train-run.ts';
import { whereTrainRuns } from '../fixtures/train-world.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const restart = {
  id: 'a',
  type: 'cordon_nodepool_and_restart_jobset',
  node_pool: 'slice-a',
  jobset_name: 'train',
};

function follower({ cluster }: Pick<VirtualFailover, 'cluster'>): Pod {
  const found = cluster
    .pods('default')
    .find(({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-completion-index'] === '2');
  if (!found) throw new Error('there is no follower');
  return found;
}

/** A follower's node dies, and the JobSet is restarted ten seconds later. */
async function hang(world: VirtualFailover): Promise<Pod> {
  const pod = follower(world);
  world.cluster.killNode(pod.spec.nodeName ?? '');
  await world.pass(10);
  const first = await world.send(restart);
  expect(first.steps.at(-1)).to.deep.include({ may_hold_up_the_restart: [pod.metadata.name] });
  await world.pass(10);
  expect(whereTrainRuns(world.cluster)).not.to.include('slice-b #1');
  world.newWrites();
  return pod;
}

// F-86: a node had just gone silent: the restart waited for its pod for ever, and the same id only repeated its answer.
describe('the same id of a restart that is done', () => {
  it('frees the pod that holds it up once its node is dead, and not before', async () => {
    const world = new VirtualFailover();
    const pod = await hang(world);
    const early = await world.send(restart);
    expect(early.steps.at(-1)).to.deep.include({ may_hold_up_the_restart: [pod.metadata.name] });
    expect(world.newWrites()).to.deep.equal([]);
    await world.pass(50);
    const { steps, isReplay } = await world.send(restart);
    expect(isReplay).to.equal(true);
    expect(steps.at(-1)).to.deep.include({
      outcome: 'restarted',
      deleted_on_dead_nodes: [pod.metadata.name],
    });
    expect(steps.at(-1)).not.to.have.property('may_hold_up_the_restart');
    const writes = world.newWrites();
    expect(countWrites(writes)).to.deep.equal({ 'PUT leases': 2, 'DELETE pods': 1 });
    const deletion = writes.find(({ method }) => method === 'DELETE');
    expect(deletion?.body).to.deep.equal({ gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
    expect(holderOf(world)).to.equal(undefined);
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(restarts(world)).to.equal(1);
    // From then on there is nothing to free, and the answer is the recorded one.
    const last = await world.send(restart);
    expect(last.steps).to.deep.equal(early.steps);
    expect(world.newWrites()).to.deep.equal([]);
  });

  it('takes the lock for it, so that two requests free it once', async () => {
    const world = new VirtualFailover();
    const pod = await hang(world);
    await world.pass(60);
    const sent = [world.begin(restart), world.begin(restart, world.newInstance())];
    const answers = [];
    for (const each of sent) answers.push(await world.answerOf(each));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200]);
    expect(countEffects(world.newWrites())).to.deep.equal({ 'DELETE pods': 1 });
    const names = answers.map(({ steps }) => steps.find(({ step }) => step === 'restart'));
    expect(names.some((step) => String(step?.['deleted_on_dead_nodes']) === pod.metadata.name)).to.equal(
      true,
    );
  });

  for (const [what, prepare, says] of [
    [
      'failover is paused',
      async (world: VirtualFailover) => annotateCluster(world, 'paused', 'a test'),
      'paused',
    ],
    [
      'another action holds the pool',
      async (world: VirtualFailover) => {
        const other = world.newInstance();
        world.once(/^PATCH .*\/nodes\//, () => other.crash());
        world.begin({ id: 'other', type: 'uncordon_nodepool', node_pool: 'slice-a' }, other);
        await world.pass(1);
      },
      'action other holds the pool',
    ],
    [
      'another action has uncordoned the pool',
      async (world: VirtualFailover) =>
        void (await world.send({ id: 'undo', type: 'uncordon_nodepool', node_pool: 'slice-a' })),
      'action undo has uncordoned the pool since',
    ],
  ] as const) {
    it(`frees nothing while ${what}, and says so`, async () => {
      const world = new VirtualFailover();
      await hang(world);
      await world.pass(60);
      await prepare(world);
      world.newWrites();
      const { status, steps } = await world.send(restart);
      expect(status).to.equal(200);
      expect(steps.at(-1)).to.include({ step: 'notice', target: 'slice-a' });
      expect(steps.at(-1)?.['notice']).to.include(says);
      expect(countEffects(world.newWrites())).to.deep.equal({});
    });
  }

  it('keeps the recorded answer, with a notice, where the pods cannot be read', async () => {
    const world = new VirtualFailover();
    await hang(world);
    await world.pass(60);
    world.emulator.faults.add({ method: 'GET', path: /\/pods\?/, times: Infinity, effect: { status: 403 } });
    const { status, steps } = await world.send(restart);
    expect(status).to.equal(200);
    expect(steps.map(({ step }) => step)).to.deep.equal(['cordon', 'restart', 'notice']);
  });

  it('touches no pod of an attempt that runs on, although its node is dead', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'] });
    await world.send(restart);
    await world.pass(5);
    await world.send({ id: 'undo', type: 'uncordon_nodepool', node_pool: 'slice-a' });
    await world.pass(30);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-a #1']);
    world.cluster.killNode(follower(world).spec.nodeName ?? '');
    await world.pass(90);
    world.newWrites();
    expect((await world.send(restart)).status).to.equal(200);
    expect(world.newWrites()).to.deep.equal([]);
  });

  it('touches no pod where the restart came to nothing', async () => {
    const world = new VirtualFailover({ slices: ['slice-a'], jobs: [{ backoffLimit: 6 }] });
    // Its controller does not mind the deadline.
    world.emulator.faults.add({
      method: 'PATCH',
      path: /\/jobs\//,
      effect: { status: 200, body: '{"kind":"Job"}' },
    });
    expect((await world.send(restart)).steps.at(-1)).to.include({ outcome: 'restarted' });
    world.cluster.killNode(follower(world).spec.nodeName ?? '');
    await world.pass(90);
    world.newWrites();
    expect((await world.send(restart)).status).to.equal(200);
    expect(world.newWrites()).to.deep.equal([]);
  });

  it('touches no pod of another JobSet that has the name', async () => {
    const world = new VirtualFailover();
    await hang(world);
    world.cluster.change('jobsets', 'default', 'train', ({ metadata }) => (metadata.uid = 'another'));
    await world.pass(60);
    world.newWrites();
    expect((await world.send(restart)).status).to.equal(200);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('frees it for the reminder of an incident, too', async () => {
    const world = new AlertWorld();
    const labels = { failover_action: restart.type };
    const alert = {
      id: '0.a',
      type: 'k8s_node_pool' as const,
      resource: { node_pool_name: 'slice-a' },
      labels,
    };
    const pod = follower(world);
    world.cluster.killNode(pod.spec.nodeName ?? '');
    await world.pass(10);
    const startedAt = world.time.now;
    expect((await world.notify({ ...alert, startedAt })).body.steps?.at(-1)).to.deep.include({
      may_hold_up_the_restart: [pod.metadata.name],
    });
    await world.pass(90);
    world.effects();
    const reminder = await world.notify({ ...alert, startedAt, renotify: true });
    expect(reminder.body.ignored).to.match(/^renotified: /);
    expect(world.effects()).to.deep.equal({ 'DELETE pods': 1 });
    await world.pass(5);
    expect(whereTrainRuns(world.cluster)).to.deep.equal(['slice-b #1']);
    expect(world.cluster.get('leases', failoverNamespace, 'pool-slice-a')?.spec.holderIdentity).to.equal(
      undefined,
    );
  });
});
