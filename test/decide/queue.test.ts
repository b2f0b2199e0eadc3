import { expect } from 'chai';
import { findQueue, toEvictionLines } from '../../src/decide/queue.ts';
import type { JobSet } from '../../src/gke/jobset.ts';
import { countEffects } from '../fixtures/count-writes.ts';
import { jsonOf, restartOfTrain } from '../fixtures/verdicts.ts';
import { VirtualFailover } from '../fixtures/virtual-failover.ts';

const queue = { 'kueue.x-k8s.io/queue-name': 'tpu-queue' };

function createWorld(labels: Record<string, string> = queue): VirtualFailover {
  return new VirtualFailover({ jobSet: { labels } });
}

function placeByKueue({ cluster }: VirtualFailover): void {
  cluster.change('jobs', 'default', 'train-workers-0', ({ spec }) => {
    spec.template.metadata = { ...spec.template.metadata, labels: { 'kueue.x-k8s.io/tas': 'true' } };
  });
}

describe('a JobSet that Kueue manages', () => {
  // F-258: nobody knew whether the restart gave the run's quota back, and somebody evicted the Workload meanwhile.
  for (const dry_run of [true, false]) {
    it(`is restarted, and the answer says what that does to its Workload${dry_run ? ', dry, too' : ''}`, async () => {
      const world = createWorld();
      const { steps } = await world.send({ ...restartOfTrain, dry_run });
      expect(steps[1]).to.include({ outcome: dry_run ? 'would_restart' : 'restarted' });
      expect(steps[1]?.['queue']).to.deep.include({ name: 'tpu-queue', admitted: true });
      expect(steps[1]?.['queue'])
        .to.have.property('workload')
        .that.matches(/^a restart leaves the Workload/);
      if (!dry_run) {
        const { restart } = jsonOf(world, 'a', 'plan') as { restart: object };
        expect(restart).to.deep.include({ queue: { name: 'tpu-queue', isAdmitted: true } });
      }
      // It needs no right to read Workloads.
      expect(world.emulator.requests.filter(({ path }) => path.includes('kueue'))).to.deep.equal([]);
    });
  }

  it('has no such field where Kueue does not manage it', async () => {
    const { steps } = await createWorld({}).send(restartOfTrain);
    expect(steps[1]).to.include({ outcome: 'restarted' }).and.not.to.have.property('queue');
  });

  it('is not restarted while it is suspended, and who resumes it is said', async () => {
    const world = createWorld();
    world.cluster.change('jobsets', 'default', 'train', ({ spec }) => (spec.suspend = true));
    const answer = await world.send(restartOfTrain);
    expect(answer).to.include({ code: 'restart_refused' });
    expect(answer.error).to.match(/is suspended: Kueue has not admitted its Workload in queue tpu-queue/);
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('is not restarted onto the hosts of its topology assignment, and the lines evict its Workload', async () => {
    const world = createWorld();
    placeByKueue(world);
    const uid = world.cluster.get('jobsets', 'default', 'train')?.metadata.uid;
    const answer = await world.send(restartOfTrain);
    expect(answer).to.include({ code: 'restart_refused' });
    const [, lines] = (answer.error ?? '').split('To evict it: ');
    expect(lines).to.equal(
      `W=$(kubectl get workloads.kueue.x-k8s.io -n default -l kueue.x-k8s.io/job-uid=${uid} -o name); ` +
        `kubectl patch -n default "$W" --type merge -p '{"spec":{"active":false}}' && ` +
        'kubectl wait -n default "$W" --for=condition=QuotaReserved=false --timeout=15m && ' +
        `kubectl patch -n default "$W" --type merge -p '{"spec":{"active":true}}'`,
    );
    expect(countEffects(world.newWrites())).to.deep.equal({});
  });

  it('has the name of a prebuilt Workload in the lines', async () => {
    const world = createWorld({ ...queue, 'kueue.x-k8s.io/prebuilt-workload-name': 'train-wl' });
    placeByKueue(world);
    expect((await world.send(restartOfTrain)).error).to.include(
      'W=workloads.kueue.x-k8s.io/train-wl; kubectl',
    );
  });

  it('is told the other way where its flavor pins it to the pool', async () => {
    const selector = { 'cloud.google.com/gke-nodepool': 'slice-a' };
    const world = new VirtualFailover({ jobSet: { labels: queue }, jobs: [{ nodeSelector: selector }] });
    const answer = await world.send(restartOfTrain);
    expect(answer).to.include({ code: 'restart_refused' });
    expect(answer.error).to.match(
      /may run in node pool slice-a only.*Or cordon it \(cordon_nodepool\) and have Kueue assign the Workload anew from queue tpu-queue: W=/,
    );
    const unmanaged = new VirtualFailover({ jobs: [{ nodeSelector: selector }] });
    expect((await unmanaged.send(restartOfTrain)).error).not.to.include('Kueue');
  });

  it('has its queue in an annotation, too, as Kueue once had it, and never a text that is no name', () => {
    const metadata = { namespace: 'default', name: 'train', uid: 'u' };
    const named = (name: string) =>
      findQueue({
        metadata: { ...metadata, annotations: { 'kueue.x-k8s.io/queue-name': name } },
        spec: { suspend: true },
      });
    expect(named('old')).to.deep.equal({ name: 'old', isAdmitted: false });
    expect(named('x; rm -rf ~')).to.equal(undefined);
    expect(findQueue({ metadata, spec: {} })).to.equal(undefined);
  });
});

describe('toEvictionLines', () => {
  const lines = (name?: string) => {
    const labels = name === undefined ? {} : { 'kueue.x-k8s.io/prebuilt-workload-name': name };
    return toEvictionLines({
      metadata: { namespace: 'default', name: 'train', uid: 'u', labels },
    } as unknown as JobSet);
  };

  it('names the Workload that a label tells', () => {
    expect(lines('w')).to.match(
      /^W=workloads\.kueue\.x-k8s\.io\/w; kubectl patch -n default "\$W" .*"active":false.*"active":true/,
    );
    expect(lines('w-1.a_b')).to.match(/^W=workloads\.kueue\.x-k8s\.io\/w-1\.a_b; /);
  });

  it('looks for it by the uid of the JobSet, where there is no such label, or one that a shell would read', () => {
    const found =
      /^W=\$\(kubectl get workloads\.kueue\.x-k8s\.io -n default -l kueue\.x-k8s\.io\/job-uid=u -o name\); /;
    for (const name of [undefined, '', '$(reboot)', '$(reboot) w', 'w; reboot', '-w', 'w-', 'w'.repeat(64)]) {
      expect(lines(name), name).to.match(found);
    }
  });
});
