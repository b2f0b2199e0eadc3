import type { V1CronJob, V1Job } from '@kubernetes/client-node';
import { expect } from 'chai';
import { findTestJob, startTestJob, toTestJob, toTestJobName } from '../../src/effects/acceptance-job.ts';
import type { TestJob } from '../../src/effects/acceptance-job.ts';
import { UpstreamError } from '../../src/errors.ts';
import type { Kubernetes } from '../../src/gke/kubernetes.ts';
import { actionAnnotation, failoverNamespace } from '../../src/names.ts';
import { healthOf } from '../fixtures/node-health.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const day = 86_400;
const name = toTestJobName('a');
const own = 'autometric-failover/accept';

function testOf(change: Partial<TestJob> = {}): TestJob {
  const nodes = [healthOf('gke-0'), healthOf('gke-1')];
  return {
    actionId: 'a',
    cronJob: 'burn-in',
    nodePool: 'slice-a',
    nodes,
    isWholePool: true,
    endsWithinSeconds: 600,
    ...change,
  };
}

const cronJobOf = (spec: object = {}, metadata?: object): V1CronJob =>
  ({
    spec: { jobTemplate: { metadata, spec: { template: { spec: { containers: [] } }, ...spec } } },
  }) as unknown as V1CronJob;

const withPod = (pod: object) => cronJobOf({ template: { spec: { containers: [], ...pod } } });
const podSpecOf = (job: V1Job) => job.spec?.template.spec;

describe('toTestJob', () => {
  it('has a name of its own for each action, which Kubernetes takes', () => {
    expect(name).to.match(/^accept-[0-9a-f]{32}$/);
    expect(toTestJobName('b')).not.to.equal(name);
  });

  it('is the template of the CronJob, with whose it is', () => {
    const template = {
      metadata: { labels: { app: 'x' }, annotations: { k: 'v' } },
      spec: { containers: [] },
    };
    const { metadata, spec } = toTestJob(
      cronJobOf({ template, backoffLimit: 3 }, { labels: { l: '1' }, annotations: { n: '2' } }),
      testOf(),
    );
    expect(metadata).to.deep.equal({
      name,
      namespace: failoverNamespace,
      labels: { l: '1', 'app.kubernetes.io/managed-by': 'autometric-failover' },
      annotations: { n: '2', [actionAnnotation]: 'a' },
    });
    expect(spec?.backoffLimit).to.equal(3);
    expect(spec?.template.metadata).to.deep.equal({
      labels: { app: 'x', [own]: name },
      annotations: { k: 'v' },
    });
  });

  it('takes an empty CronJob, too', () => {
    const { metadata, spec } = toTestJob({} as V1CronJob, testOf());
    expect(metadata?.annotations).to.deep.equal({ [actionAnnotation]: 'a' });
    expect(spec?.template.spec?.containers).to.deep.equal([]);
  });

  it('leaves the selector to Kubernetes, and begins at once', () => {
    const { spec } = toTestJob(cronJobOf({ selector: {}, manualSelector: true, suspend: true }), testOf());
    expect(spec).not.to.have.any.keys('selector', 'manualSelector', 'suspend');
  });

  it('ends within its time, and stays for a day at least', () => {
    const times = (spec: object) => {
      const made = toTestJob(cronJobOf(spec), testOf()).spec;
      return [made?.activeDeadlineSeconds, made?.ttlSecondsAfterFinished];
    };
    expect(times({})).to.deep.equal([600, 7 * day]);
    expect(times({ activeDeadlineSeconds: 60, ttlSecondsAfterFinished: 5 })).to.deep.equal([60, day]);
    expect(times({ activeDeadlineSeconds: 900, ttlSecondsAfterFinished: 2 * day })).to.deep.equal([
      600,
      2 * day,
    ]);
  });

  it('has a pod for each node, apart from each other, unless it says how many', () => {
    const affinity = {
      nodeAffinity: {},
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'rack' }], x: 1 },
    };
    const { spec } = toTestJob(withPod({ affinity }), testOf());
    expect(spec).to.include({ parallelism: 2, completions: 2, completionMode: 'Indexed' });
    expect(spec?.template.spec?.affinity).to.deep.equal({
      nodeAffinity: {},
      podAntiAffinity: {
        x: 1,
        requiredDuringSchedulingIgnoredDuringExecution: [
          { topologyKey: 'rack' },
          { labelSelector: { matchLabels: { [own]: name } }, topologyKey: 'kubernetes.io/hostname' },
        ],
      },
    });
    const rules = podSpecOf(toTestJob(cronJobOf(), testOf()))?.affinity?.podAntiAffinity;
    expect(rules?.requiredDuringSchedulingIgnoredDuringExecution).to.have.length(1);
    for (const given of [{ parallelism: 4 }, { completions: 4 }]) {
      const made = toTestJob(cronJobOf(given), testOf());
      expect(made.spec).to.include(given).and.not.to.have.property('completionMode');
      expect(podSpecOf(made)).not.to.have.property('affinity');
    }
    const one = toTestJob(cronJobOf(), testOf({ nodes: [healthOf('gke-0')] }));
    expect(one.spec).not.to.have.any.keys('parallelism', 'completions');
    expect(podSpecOf(one)).not.to.have.property('affinity');
  });

  it('goes to the pool, and to the repaired node where not the whole pool is tested', () => {
    const pool = { 'cloud.google.com/gke-nodepool': 'slice-a' };
    const selectorOf = (change: Partial<TestJob>) =>
      podSpecOf(toTestJob(withPod({ nodeSelector: { zone: 'a' } }), testOf(change)))?.nodeSelector;
    expect(selectorOf({})).to.deep.equal({ zone: 'a', ...pool });
    const part = { isWholePool: false };
    expect(selectorOf(part)).to.deep.equal({ zone: 'a', ...pool, 'kubernetes.io/hostname': 'gke-0' });
    const labelled = [healthOf('gke-0', { labels: { 'kubernetes.io/hostname': 'h' } })];
    expect(selectorOf({ ...part, nodes: labelled })).to.include({ 'kubernetes.io/hostname': 'h' });
    expect(selectorOf({ ...part, nodes: [] })).to.deep.equal({ zone: 'a', ...pool });
  });

  it('tolerates the cordon and the taints of the accelerators, beside its own', () => {
    const mine = { key: 'mine', operator: 'Exists' };
    const tolerations = podSpecOf(toTestJob(withPod({ tolerations: [mine] }), testOf()))?.tolerations;
    const keys = ['node.kubernetes.io/unschedulable', 'google.com/tpu', 'nvidia.com/gpu'];
    expect(tolerations).to.deep.equal([
      mine,
      ...keys.map((key) => ({ key, operator: 'Exists', effect: 'NoSchedule' })),
    ]);
    expect(podSpecOf(toTestJob(cronJobOf(), testOf()))?.tolerations).to.have.length(3);
  });
});

const failing = (status: number) => new UpstreamError({ api: 'Kubernetes API', call: 'GET', status });
const jobOf = (conditions: object[] = [], status: object = {}): V1Job =>
  ({
    metadata: {
      name,
      uid: 'u',
      creationTimestamp: '2026-11-28T03:00:00Z',
      annotations: { [actionAnnotation]: 'a' },
    },
    status: { conditions, ...status },
  }) as unknown as V1Job;

describe('findTestJob', () => {
  const find = (answer: V1Job | Error) => {
    const readNamespacedJob = async () => {
      if (answer instanceof Error) throw answer;
      return answer;
    };
    return findTestJob({ batch: { readNamespacedJob } } as unknown as Kubernetes, 'a');
  };

  it('tells how far it is, and how it ended', async () => {
    const what = { name, uid: 'u', createdAt: Date.parse('2026-11-28T03:00:00Z'), madeFor: 'a' };
    const running = { ...what, end: undefined, why: '1 of its 2 active pods are ready' };
    expect(await find(jobOf([{ type: 'Failed', status: 'False' }], { active: 2, ready: 1 }))).to.deep.equal(
      running,
    );
    expect(await find(jobOf([{ type: 'Complete', status: 'True' }]))).to.include({ end: 'Complete' });
    expect(await find(jobOf([{ type: 'Complete', status: 'False' }]))).to.include({ end: undefined });
    const failed = { type: 'Failed', status: 'True' };
    expect(await find(jobOf([{ ...failed, reason: 'DeadlineExceeded' }]))).to.include({
      end: 'Failed',
      why: 'DeadlineExceeded',
    });
    expect(await find(jobOf([failed]))).to.include({ end: 'Failed', why: 'Failed' });
  });

  it('finds none where there is none, and fails where it cannot be read', async () => {
    expect(await find(failing(404))).to.equal(undefined);
    expect(await refusalOf(find(failing(403)))).to.have.property('code', 'upstream_failed');
  });
});

describe('startTestJob', () => {
  interface Answers {
    cronJob?: Error;
    create?: Error;
    found?: Error;
  }

  async function start({ cronJob, create, found }: Answers) {
    const created: unknown[] = [];
    const batch = {
      readNamespacedCronJob: async () => {
        if (cronJob) throw cronJob;
        return cronJobOf();
      },
      createNamespacedJob: async ({ body }: { body: V1Job }) => {
        created.push(body.metadata?.name);
        if (create) throw create;
        return jobOf();
      },
      readNamespacedJob: async () => {
        if (found) throw found;
        return jobOf();
      },
    };
    const state = startTestJob({ batch } as unknown as Kubernetes, testOf());
    const code = await state.then(
      (made) => made?.uid,
      (error: { upstreamStatus?: number }) => error.upstreamStatus,
    );
    return { code, created };
  }

  it('creates one Job of the CronJob, and none without it', async () => {
    expect(await start({})).to.deep.equal({ code: 'u', created: [name] });
    expect(await start({ cronJob: failing(404) })).to.deep.equal({ code: undefined, created: [] });
    expect(await start({ cronJob: failing(403) })).to.deep.equal({ code: 403, created: [] });
  });

  it('finds the one that an earlier try has made', async () => {
    expect(await start({ create: failing(409) })).to.deep.equal({ code: 'u', created: [name] });
    expect(await start({ create: failing(409), found: failing(404) })).to.deep.equal({
      code: 409,
      created: [name],
    });
    expect(await start({ create: failing(500) })).to.deep.equal({ code: 500, created: [name] });
  });
});
