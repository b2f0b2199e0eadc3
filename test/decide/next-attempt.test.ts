import { expect } from 'chai';
import { toNextJobs } from '../../src/decide/next-attempt.ts';
import type { ChildJob, JobPod, JobSet } from '../../src/gke/jobset.ts';
import { toPodNeeds } from '../../src/gke/pod-needs.ts';
import type { PodNeeds } from '../../src/gke/pod-needs.ts';

const needsOf = (change: Partial<PodNeeds> = {}): PodNeeds => ({ ...toPodNeeds({}), ...change });

function jobSetOf(podSpec: object = {}, jobSpec: object = {}): JobSet {
  const spec = { ...jobSpec, template: { spec: podSpec } };
  return {
    metadata: { name: 'train', namespace: 'default', uid: 'u' },
    spec: { replicatedJobs: [{ name: 'w', replicas: 1, template: { spec } }] },
    status: { restarts: 1 },
  } as unknown as JobSet;
}

const job = (change: Partial<ChildJob>) =>
  ({ name: 'train-w-0', uid: 'job', attempt: 1, podCount: 4, needs: needsOf(), ...change }) as ChildJob;
const pod = (needs: Partial<PodNeeds>, jobUid: string | undefined = 'job') =>
  ({ jobUid, needs: needsOf(needs) }) as JobPod;

const slice = 'cloud.google.com/gke-nodepool';
const host = 'kubernetes.io/hostname';

describe('toNextJobs', () => {
  it('takes a Job of the present attempt for what it is made of, and none of an older one', () => {
    const [present] = toNextJobs(jobSetOf(), [job({})], []);
    expect(present).to.include({ name: 'train-w-0', uid: 'job', podCount: 4, isAssigned: false });
    const [older] = toNextJobs(jobSetOf(), [job({ attempt: 0 })], []);
    expect(older).to.include({ name: 'train-w-0', uid: undefined, podCount: 1, isAssigned: false });
  });

  it('leaves a Job out that has no pods', () => {
    expect(toNextJobs(jobSetOf(), [job({ podCount: 0 })], [])).to.deep.equal([]);
    expect(toNextJobs(jobSetOf({}, { parallelism: 0 }), [], [])).to.deep.equal([]);
  });

  it('asks for what the first of its pods asks for', () => {
    const pods = [
      pod({ nodeSelector: { zone: 'other' } }, 'other'),
      pod({ nodeSelector: { zone: 'a' } }),
      pod({}),
    ];
    const [made] = toNextJobs(jobSetOf(), [job({})], pods);
    expect(made?.needs.nodeSelector).to.deep.equal({ zone: 'a' });
  });

  it('leaves out what JobSet added for this one place, and keeps what the template says', () => {
    const exclusive = { exclusiveTopology: slice };
    const pods = [pod({ ...exclusive, nodeSelector: { [slice]: 'slice-a', zone: 'a' } })];
    const [made] = toNextJobs(jobSetOf(), [job({ needs: needsOf(exclusive) })], pods);
    expect(made?.needs).to.deep.include({ nodeSelector: { zone: 'a' }, ...exclusive });
    const pinned = needsOf({ ...exclusive, nodeSelector: { [slice]: 'slice-a' } });
    const [kept] = toNextJobs(jobSetOf(), [job({ needs: pinned })], pods);
    expect(kept?.needs.nodeSelector).to.deep.equal({ [slice]: 'slice-a', zone: 'a' });
    const [plain] = toNextJobs(jobSetOf(), [job({})], pods);
    expect(plain?.needs.nodeSelector).to.deep.equal({ [slice]: 'slice-a', zone: 'a' });
  });

  it('knows that something chose a node for each pod, and then asks for what the template does', () => {
    const assigned = [pod({ nodeSelector: { [host]: 'gke-0', zone: 'a' } })];
    const [made] = toNextJobs(jobSetOf(), [job({})], assigned);
    expect(made).to.include({ isAssigned: true });
    expect(made?.needs.nodeSelector).to.deep.equal({});
    const byTemplate = job({ needs: needsOf({ nodeSelector: { [host]: 'gke-0' } }) });
    expect(toNextJobs(jobSetOf(), [byTemplate], assigned)[0]).to.include({ isAssigned: false });
    const perHost = { exclusiveTopology: host, nodeSelector: { [host]: 'gke-0' } };
    expect(toNextJobs(jobSetOf(), [job({})], [pod(perHost)])[0]).to.include({ isAssigned: false });
    expect(toNextJobs(jobSetOf(), [job({ needs: needsOf({ isPlacedByKueue: true }) })], [])[0]).to.include({
      isAssigned: true,
    });
    expect(
      toNextJobs(jobSetOf(), [job({})], [pod({ nodeSelector: { [host]: 'gke-0' } }, 'other')])[0],
    ).to.include({
      isAssigned: false,
    });
  });

  it('adds the toleration of its devices to a Job that has no pod, once', () => {
    const resources = { requests: { 'google.com/tpu': '4' } };
    const [made] = toNextJobs(jobSetOf({ containers: [{ name: 'c', resources }] }), [], []);
    const tolerations = [{ key: 'google.com/tpu', operator: 'Exists', effect: 'NoSchedule' }];
    expect(made?.needs.tolerations).to.deep.equal(tolerations);
    const [withPod] = toNextJobs(jobSetOf(), [job({})], [pod({ requests: { 'google.com/tpu': 4 } })]);
    expect(withPod?.needs.tolerations).to.deep.equal([]);
  });

  it('lists as many Jobs as replicas, one where it does not say', () => {
    const names = (jobSet: JobSet) => toNextJobs(jobSet, [], []).map(({ name }) => name);
    const three = jobSetOf();
    Object.assign(three.spec.replicatedJobs?.[0] ?? {}, { replicas: 3 });
    expect(names(three)).to.deep.equal(['train-w-0', 'train-w-1', 'train-w-2']);
    const none = jobSetOf();
    Reflect.deleteProperty(none.spec.replicatedJobs?.[0] ?? {}, 'replicas');
    expect(names(none)).to.deep.equal(['train-w-0']);
    expect(names({ ...none, spec: {} })).to.deep.equal([]);
  });
});
