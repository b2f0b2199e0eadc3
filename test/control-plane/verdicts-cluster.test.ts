import { expect } from 'chai';
import type { ClusterReport } from '../../src/reconcile/report.ts';
import { startFunctionProcess } from '../fixtures/function-process.ts';
import type { FunctionProcess } from '../fixtures/function-process.ts';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { serveInterruptingProxy } from './interrupting-proxy.ts';
import type { InterruptingProxy } from './interrupting-proxy.ts';
import { killAtEachWrite } from './kill-at-each-write.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { KubernetesList, KubernetesObject } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';
import { jobSetsPath } from './world.ts';
import type { JobSetSpec } from './world.ts';

const nodeCount = 2;
const leasesPath = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';
const prefix = 'autometric-failover/';
const who = { requestor: 'test', reason: 'a host is bad', node_pool: 'slice-a' };
let next = 0;

interface LeaseObject extends KubernetesObject {
  spec: { acquireTime?: string };
}

describe('verdicts on a real control plane', function () {
  let controlPlane: ControlPlane;
  let proxy: InterruptingProxy;
  let rig: FailoverRig;
  const processes: FunctionProcess[] = [];

  before(async function () {
    controlPlane = await startOrSkip(this, 'verdicts on a real control plane');
    proxy = await serveInterruptingProxy(controlPlane);
    rig = await createFailoverRig(controlPlane, { endpoint: proxy });
  });

  beforeEach(() => proxy.letThrough());

  afterEach(async () => {
    await rig.world.removeAll();
    await rig.forget();
  });

  after(async () => {
    for (const each of processes) await each.kill();
    await rig?.stop();
    await proxy?.close();
    await controlPlane?.stop();
  });

  async function start(): Promise<FunctionProcess> {
    const started = await startFunctionProcess(rig.environment);
    processes.push(started);
    return started;
  }

  /** The process that goes on after another was killed. */
  let survivor: FunctionProcess | undefined;
  async function startSurvivor(): Promise<FunctionProcess> {
    survivor ??= await start();
    return survivor;
  }

  async function reconcile({ url }: Pick<FunctionProcess, 'url'>): Promise<ClusterReport> {
    const response = await fetch(`${url}/reconcile`, { method: 'POST' });
    const text = await response.text();
    expect(response.status, text).to.equal(200);
    const [report] = (JSON.parse(text) as { clusters: ClusterReport[] }).clusters;
    if (!report) throw new Error(`no cluster in ${text}`);
    return report;
  }

  /** Reconciles until the action has its verdict. */
  function settle(process: Pick<FunctionProcess, 'url'>, id: string): Promise<Record<string, unknown>> {
    return eventually(`action ${id} is settled`, async () => {
      await reconcile(process);
      const { phase, verdict = '{}' } = (await record(id)) ?? {};
      return phase === 'settled' && (JSON.parse(verdict) as Record<string, unknown>);
    });
  }

  async function findLease(id: string): Promise<LeaseObject | undefined> {
    const { items } = await controlPlane.admin.get<KubernetesList<LeaseObject>>(leasesPath);
    return items?.find(({ metadata }) => metadata.annotations?.[`${prefix}id`] === id);
  }

  /** The annotations of an action's record. */
  async function record(id: string): Promise<Record<string, string> | undefined> {
    const lease = await findLease(id);
    if (!lease) return undefined;
    const entries = Object.entries(lease.metadata.annotations ?? {});
    return Object.fromEntries(entries.map(([key, value]) => [key.replace(prefix, ''), value]));
  }

  /** Makes an action so much older, as if that time had passed. */
  async function age(id: string, seconds: number): Promise<void> {
    const lease = await findLease(id);
    if (!lease) return;
    const earlier = (time: string | undefined) =>
      time && new Date(Date.parse(time) - seconds * 1000).toISOString();
    const { [`${prefix}done-at`]: doneAt } = lease.metadata.annotations ?? {};
    const body = {
      metadata: { annotations: doneAt ? { [`${prefix}done-at`]: earlier(doneAt) } : {} },
      spec: { acquireTime: earlier(lease.spec.acquireTime)?.replace('Z', '000Z') },
    };
    const path = `${leasesPath}/${lease.metadata.name}`;
    const { status, text } = await controlPlane.admin.request('PATCH', path, {
      body,
      contentType: patchTypes.merge,
    });
    if (status !== 200) throw new Error(`the record of ${id} was answered ${text}`);
  }

  async function verdictEvents(name: string): Promise<string[]> {
    const selector = encodeURIComponent(`involvedObject.name=${name}`);
    const path = `/api/v1/namespaces/default/events?fieldSelector=${selector}`;
    const { items } =
      await controlPlane.admin.get<KubernetesList<KubernetesObject & { reason: string }>>(path);
    return (items ?? []).map(({ reason }) => reason).filter((reason) => /^Failover(?!Action)/.test(reason));
  }

  async function runOnSliceA(spec: Partial<JobSetSpec> = {}, hasRoom = true): Promise<string> {
    const name = `train-${next++}`;
    await rig.world.addTpuSlice('slice-a', { nodes: nodeCount });
    await rig.world.addJobSet({ name, parallelism: nodeCount, ...spec });
    await rig.allRunOn(name, 'slice-a', nodeCount);
    const others = await rig.world.addTpuSlice('slice-b', { nodes: nodeCount });
    if (!hasRoom) await cordonByHand(others);
    return name;
  }

  /** Somebody has taken them for something else. */
  async function cordonByHand(names: string[]): Promise<void> {
    const options = { body: { spec: { unschedulable: true } }, contentType: patchTypes.merge };
    for (const name of names) await controlPlane.admin.request('PATCH', `/api/v1/nodes/${name}`, options);
  }

  const restart = (name: string) => ({
    ...who,
    id: name,
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: name,
  });

  for (const [title, spec] of [
    ['backoffLimit 0', {}],
    ['backoffLimit 6', { backoffLimit: null }],
  ] as [string, Partial<JobSetSpec>][]) {
    it(`is recovered on another slice: ${title}`, async () => {
      const name = await runOnSliceA(spec);
      const failover = await rig.serve();
      const sentAt = Date.now();
      const { status, body } = await failover.send(restart(name));
      expect(status, JSON.stringify(body)).to.equal(200);
      await rig.allRunOn(name, 'slice-b', nodeCount);
      const verdict = await settle(failover, name);
      const lookedAt = Date.now();
      expect(verdict).to.include({ verdict: 'recovered', attempt: 1 });
      expect(Date.parse(String(verdict['recovered_at']))).to.be.within(sentAt - 1000, lookedAt);
      expect(verdict['seconds']).to.be.within(0, Math.ceil((lookedAt - sentAt) / 1000));
      expect(await verdictEvents(name)).to.deep.equal(['FailoverRecovered']);
      expect(failover.lines.filter(({ event }) => event === 'verdict')).to.have.length(1);
      expect(await reconcile(failover)).to.include({ open: 0 });
    });
  }

  it('is not_recovered without room, in the words of the real scheduler', async () => {
    const name = await runOnSliceA({}, false);
    const failover = await rig.serve({ RECOVERY_TIMEOUT_SECONDS: '60' });
    const { status, body } = await failover.send(restart(name));
    expect(status, JSON.stringify(body)).to.equal(200);
    await eventually('the next attempt is unschedulable', async () => {
      const pods = await rig.world.pods(name);
      return (
        pods.length > 0 &&
        pods.every(({ metadata, status }) => {
          const attempt = metadata.labels?.['jobset.sigs.k8s.io/restart-attempt'];
          const conditions =
            (status as { conditions?: { type: string; reason?: string }[] }).conditions ?? [];
          return attempt === '1' && conditions.some(({ reason }) => reason === 'Unschedulable');
        })
      );
    });
    expect((await reconcile(failover)).waiting).to.deep.equal([name]);
    await age(name, 60);
    const verdict = await settle(failover, name);
    expect(verdict).to.include({ verdict: 'not_recovered', attempt: 1 });
    expect(verdict['why']).to.match(
      /^not within 60 s: \d of 2 pods are Pending: 0\/\d+ nodes are available: .*4 node\(s\) were unschedulable/,
    );
    console.log(`        why: ${String(verdict['why'])}`);
    expect(verdict).not.to.have.property('seconds');
    expect(await verdictEvents(name)).to.deep.equal(['FailoverNotRecovered']);
  });

  it('is run_ended where the JobSet is deleted, and where one is made anew under its name', async () => {
    for (const isMadeAnew of [false, true]) {
      const name = await runOnSliceA();
      const failover = await rig.serve();
      expect(await failover.send(restart(name))).to.include({ status: 200 });
      await controlPlane.admin.request('DELETE', `${jobSetsPath('default')}/${name}`);
      // Its pods, too: next to an old pod on the cordoned slice, the scheduler keeps the new leader Pending for up to
      // five minutes, because its affinity to pods of a Job of that name is not asked again when the old pod goes.
      await eventually('the JobSet and its pods are gone', async () => {
        const { status } = await controlPlane.admin.request('GET', `${jobSetsPath('default')}/${name}`);
        return status === 404 && (await rig.world.pods(name)).length === 0;
      });
      if (isMadeAnew) {
        await rig.world.addJobSet({ name, parallelism: nodeCount });
        await rig.allRunOn(name, 'slice-b', nodeCount);
      }
      const verdict = await settle(failover, name);
      expect(verdict).to.include({ verdict: 'run_ended' });
      expect(verdict['why']).to.match(isMadeAnew ? /another one has its name/ : /is gone/);
      await rig.world.removeAll();
      await rig.forget();
    }
  });

  it('is run_ended where the JobSet has no restart left and fails for good', async () => {
    const name = await runOnSliceA({ failurePolicy: { maxRestarts: 1 } });
    const failover = await rig.serve();
    expect(await failover.send(restart(name))).to.include({ status: 200 });
    await rig.allRunOn(name, 'slice-b', nodeCount);
    // The next failure is one too many.
    for (const { metadata } of await rig.world.runningPods(name)) {
      await controlPlane.admin.request('DELETE', `/api/v1/namespaces/default/pods/${metadata.name}`);
    }
    await eventually('the JobSet has failed', async () => {
      const { status } = await rig.readJobSet(name);
      return status?.terminalState === 'Failed';
    });
    const verdict = await settle(failover, name);
    expect(verdict).to.include({ verdict: 'run_ended', attempt: 1 });
    console.log(`        why: ${String(verdict['why'])}`);
    expect(verdict['why']).to.match(/has failed for good \(.+\)$/);
  });

  it('has a machine repaired after a restart without room, and the pool uncordoned: the run is back', async () => {
    const name = await runOnSliceA({}, false);
    const failover = await rig.serve({ RECOVERY_TIMEOUT_SECONDS: '60' });
    const chain = { on_failure: 'cordon_and_repair_nodepool', uncordon_when_repaired: true };
    expect(await failover.send({ ...restart(name), ...chain })).to.include({ status: 200 });
    await eventually('the next attempt is there', async () => {
      const pods = await rig.world.pods(name);
      return pods.some(({ metadata }) => metadata.labels?.['jobset.sigs.k8s.io/restart-attempt'] === '1');
    });
    await age(name, 60);
    expect(await settle(failover, name)).to.include({ verdict: 'not_recovered' });
    expect(rig.deletions).to.have.length(1);
    expect(await settle(failover, `${name}.on-failure`)).to.include({ verdict: 'repaired' });
    expect(await record(`${name}.on-failure.uncordon`)).to.include({ phase: 'settled' });
    await rig.allRunOn(name, 'slice-a', nodeCount);
    expect(rig.deletions).to.have.length(1);
  });

  it('is given once by two processes that reconcile at once', async () => {
    const name = await runOnSliceA();
    const [one, other] = await Promise.all([startSurvivor(), start()]);
    expect(await one.send(restart(name))).to.include({ status: 200 });
    await rig.allRunOn(name, 'slice-b', nodeCount);
    proxy.letThrough();
    const reports = await Promise.all([one, other, one, other].map((each) => reconcile(each)));
    expect(reports.flatMap(({ settled }) => settled)).to.deep.equal([{ id: name, verdict: 'recovered' }]);
    expect(reports.flatMap(({ errors }) => errors)).to.deep.equal([]);
    expect(await verdictEvents(name)).to.deep.equal(['FailoverRecovered']);
    expect(
      proxy.writes().filter((write) => write.startsWith('POST') && write.endsWith('/events')),
    ).to.have.length(1);
  });

  describe('of an action whose process is killed after any write', () => {
    it('reconcile of another process alone ends it: one restart, one verdict; or nothing was done', async () => {
      const killing = { rig, proxy, start, startSurvivor, runOnSliceA, restart };
      await killAtEachWrite(killing, async ({ name, other, landedOn, isComplete }) => {
        const phase = (await record(name))?.['phase'];
        if (phase === 'claimed') {
          await age(name, 121);
          await reconcile(other);
          expect(await record(name), landedOn).to.equal(undefined);
          expect(await rig.isCordoned('slice-a'), landedOn).to.equal(false);
          expect((await rig.readJobSet(name)).status?.restarts ?? 0, landedOn).to.equal(0);
          return `${describe(landedOn, name)} → forgotten, because nothing was done`;
        }
        const first = await reconcile(other);
        await rig.allRunOn(name, 'slice-b', nodeCount);
        expect(await settle(other, name), landedOn).to.include({ verdict: 'recovered', attempt: 1 });
        expect((await rig.readJobSet(name)).status?.restarts, landedOn).to.equal(1);
        expect(await rig.isCordoned('slice-a'), landedOn).to.equal(true);
        expect(await verdictEvents(name), landedOn).to.deep.equal(['FailoverRecovered']);
        return isComplete ? undefined : `${describe(landedOn, name)} → ${summarise(first)}`;
      });
    });

    const describe = (write: string, name: string) =>
      write.replaceAll(name, 'train').replace(/(action|jobset)-\w{20,}/, '$1-…');
    const summarise = ({ resumed, settled, waiting }: ClusterReport) =>
      resumed.length > 0 ? 'carried on' : settled.length > 0 ? 'settled' : `waiting ${waiting.length}`;
  });
});
