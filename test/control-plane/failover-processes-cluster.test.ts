import { expect } from 'chai';
import type { ControlPlane } from './capabilities.ts';
import { eventually } from './eventually.ts';
import { createFailoverRig } from './failover-rig.ts';
import type { FailoverRig } from './failover-rig.ts';
import { startFunctionProcess } from '../fixtures/function-process.ts';
import type { FunctionProcess } from '../fixtures/function-process.ts';
import { serveInterruptingProxy } from './interrupting-proxy.ts';
import type { InterruptingProxy } from './interrupting-proxy.ts';
import { killAtEachWrite } from './kill-at-each-write.ts';
import type { KubernetesList, KubernetesObject } from './kubernetes-client.ts';
import { startOrSkip } from './start-or-skip.ts';
import { withoutHistory } from '../fixtures/without-history.ts';

const nodeCount = 2;
const who = { requestor: 'test', reason: 'a host is bad', node_pool: 'slice-a' };
let next = 0;

describe('several processes of the function', function () {
  let controlPlane: ControlPlane;
  let proxy: InterruptingProxy;
  let rig: FailoverRig;
  /** Awaited after the request to delete a machine, before the function gets the response and the slice comes back. */
  let onDeletion: () => Promise<void>;
  const processes: FunctionProcess[] = [];

  before(async function () {
    controlPlane = await startOrSkip(this, 'several processes of the function');
    proxy = await serveInterruptingProxy(controlPlane);
    rig = await createFailoverRig(controlPlane, { endpoint: proxy, onDeletion: () => onDeletion() });
  });

  beforeEach(() => {
    proxy.letThrough();
    onDeletion = async () => {};
  });

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

  /** The process that continues after another was killed. */
  let survivor: FunctionProcess | undefined;
  async function startSurvivor(): Promise<FunctionProcess> {
    survivor ??= await start();
    return survivor;
  }

  /** A JobSet that runs on slice-a, with slice-b free. */
  async function runOnSliceA(): Promise<string> {
    const name = `train-${next++}`;
    await rig.world.addTpuSlice('slice-a', { nodes: nodeCount });
    await rig.world.addJobSet({ name, parallelism: nodeCount });
    await rig.allRunOn(name, 'slice-a', nodeCount);
    await rig.world.addTpuSlice('slice-b', { nodes: nodeCount });
    return name;
  }

  const restart = (name: string, id = name) => ({
    ...who,
    id,
    type: 'cordon_nodepool_and_restart_jobset',
    jobset_name: name,
  });

  it('carry out an action once if it is delivered to all of them at the same time', async () => {
    const name = await runOnSliceA();
    const three = await Promise.all([startSurvivor(), start(), start()]);
    const answers = await Promise.all(three.map((each) => each.send(restart(name))));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200]);
    for (const { body } of answers) {
      expect(withoutHistory(body)).to.deep.equal(withoutHistory(answers[0]?.body));
    }
    await rig.allRunOn(name, 'slice-b', nodeCount);
    expect((await rig.readJobSet(name)).status?.restarts).to.equal(1);
    expect(proxy.writes().filter((write) => /^DELETE .*\/pods\//.test(write))).to.have.length(1);
  });

  it('restart a JobSet once for different actions on the same pool at the same time', async () => {
    const name = await runOnSliceA();
    const three = await Promise.all([startSurvivor(), start(), start()]);
    const answers = await Promise.all(
      three.map((each, index) => each.send(restart(name, `${name}-${index}`))),
    );
    const outcomes = answers.map(({ status, body }) => body.code ?? body.steps?.[1]?.['outcome'] ?? status);
    expect(outcomes.filter((outcome) => outcome === 'restarted')).to.have.length(1);
    await rig.allRunOn(name, 'slice-b', nodeCount);
    expect((await rig.readJobSet(name)).status?.restarts).to.equal(1);
    expect(proxy.writes().filter((write) => /^DELETE .*\/pods\//.test(write))).to.have.length(1);
  });

  describe('when one is killed after any write, and another resumes', () => {
    it('restart once, whichever write it was', async function () {
      const killing = { rig, proxy, start, startSurvivor, runOnSliceA, restart };
      await killAtEachWrite(killing, async ({ name, other, landedOn, isComplete }) => {
        const { status, body } = await other.send(restart(name));
        const where = `after ${landedOn}: ${JSON.stringify(body)}`;
        expect(status, where).to.equal(200);
        expect(
          body.steps?.map(({ step }) => step),
          where,
        ).to.deep.equal(['cordon', 'restart']);
        expect(await rig.isCordoned('slice-a'), where).to.equal(true);
        await rig.allRunOn(name, 'slice-b', nodeCount);
        expect((await rig.readJobSet(name)).status?.restarts, where).to.equal(1);
        const reasons = await eventReasons(name);
        expect(
          reasons.filter((reason) => reason === 'FailoverActionTriggered'),
          where,
        ).to.have.length(1);
        expect(reasons.filter((reason) => reason === 'FailoverActionSucceeded').length, where).to.be.at.most(
          1,
        );
        return isComplete ? undefined : landedOn.replaceAll(name, 'train').replace(/action-\w+/, 'action-…');
      });
    });
  });

  async function eventReasons(name: string): Promise<unknown[]> {
    const selector = encodeURIComponent(`involvedObject.name=${name}`);
    const path = `/api/v1/namespaces/default/events?fieldSelector=${selector}`;
    const { items } =
      await controlPlane.admin.get<KubernetesList<KubernetesObject & { reason: string }>>(path);
    return (items ?? []).map(({ reason }) => reason);
  }

  it('delete one machine if a process is killed before it gets the response to the deletion', async () => {
    await rig.world.addTpuSlice('slice-a', { nodes: nodeCount });
    const [victim, other] = await Promise.all([start(), startSurvivor()]);
    const action = { ...who, id: `repair-${next++}`, type: 'cordon_and_repair_nodepool' };
    let comeBack = (): void => {};
    const deletedAt = new Promise<number>((tell) => {
      onDeletion = () => {
        tell(Date.now());
        return new Promise((resolve) => (comeBack = resolve));
      };
    });
    const lost = victim.send(action).catch(() => undefined);
    const at = await deletedAt;
    await victim.kill();
    await lost;
    // A machine must not come back within the same second, because creationTimestamp has whole seconds.
    await eventually('the second is over', () => Date.now() > at + 1500);
    comeBack();
    await eventually('the slice has come back', async () => {
      const nodes = await rig.nodesOf('slice-a');
      return nodes.length === nodeCount && nodes.every(({ spec }) => !spec.unschedulable);
    });
    await rig.expireLock('slice-a');
    const { status, body } = await other.send(action);
    expect(status, JSON.stringify(body)).to.equal(200);
    expect(body.steps?.[0]).to.deep.include({
      step: 'cordon',
      cordoned: 0,
      replacements_left_alone: nodeCount,
    });
    expect(body.steps?.[1]).to.deep.include({ step: 'repair', instance_id: rig.deletions[0] });
    expect(rig.deletions).to.have.length(1);
    expect(await rig.isCordoned('slice-a')).to.equal(false);
  });

  it('wait for the lock of a process that was killed, and then continue', async () => {
    const name = await runOnSliceA();
    const [victim, other] = await Promise.all([start(), startSurvivor()]);
    // The lock is the second write; the plan is not written yet.
    const held = proxy.holdWrite(2);
    const lost = victim.send(restart(name)).catch(() => undefined);
    await held;
    await victim.kill();
    await lost;
    proxy.letThrough();
    const first = await other.send(restart(name));
    expect([first.status, first.body.code]).to.deep.equal([409, 'action_in_progress']);
    const later = await eventually(
      'the lock has expired',
      async () => {
        const answer = await other.send(restart(name));
        return answer.status !== 409 && answer;
      },
      { timeoutMs: 100_000, intervalMs: 1000 },
    );
    expect(later.status, JSON.stringify(later.body)).to.equal(200);
    await rig.allRunOn(name, 'slice-b', nodeCount);
    expect((await rig.readJobSet(name)).status?.restarts).to.equal(1);
  });
});
