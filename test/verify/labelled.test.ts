import { expect } from 'chai';
import type { Instance } from '../../src/gke/compute.ts';
import { instanceIdAnnotation } from '../../src/gke/nodes.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { hostLabel } from '../../src/gke/slice.ts';
import type { RepairPlan } from '../../src/plan.ts';
import type { Judgement } from '../../src/verify/judgement.ts';
import { judgeLabelled } from '../../src/verify/labelled.ts';
import { faultLabel, statusLabel } from '../fixtures/gpu-world.ts';

const noon = Date.parse('2026-11-23T12:00:00Z');
const operationLabel = 'cloud.google.com/report-and-replace-operation';

type Way = NonNullable<RepairPlan['way']>;

function planOf(way: Way, changed: Partial<RepairPlan> = {}): RepairPlan & { way: Way } {
  return {
    projectId: 'p',
    zone: 'z',
    instanceName: 'gke-0',
    instanceId: '100',
    node: { name: 'gke-0', uid: 'u-0', systemUuid: 's-0' },
    isMultiHost: false,
    why: 'it was named',
    poolSize: 1,
    host: 'host-1',
    before: { bootId: 'boot-1', startedAt: noon },
    way,
    ...changed,
  };
}

type Change = Partial<NodeHealth> & { instanceId?: string };

/** The node as it was when the label was set, and is healthy: its accelerators are allocatable, and it is Ready. */
function node({ instanceId = '100', labels = {}, ...change }: Change = {}): NodeHealth {
  return {
    name: 'gke-0',
    uid: 'u-0',
    nodePool: 'gpu-a',
    labels: { 'cloud.google.com/gke-accelerator': 'nvidia-b200', [hostLabel]: 'host-1', ...labels },
    annotations: { [instanceIdAnnotation]: instanceId },
    createdAt: noon,
    isReady: true,
    readyChangedAt: noon + 60_000,
    taintKeys: [],
    lacksAccelerators: false,
    problems: [],
    providerId: undefined,
    systemUuid: 's-0',
    bootId: 'boot-1',
    ...change,
  };
}

const machine = (startedAt: number): Instance => ({ id: '100', status: 'RUNNING', createdAt: 0, startedAt });

function judge(
  plan: RepairPlan & { way: Way },
  nodes: NodeHealth[],
  asked: Instance | 'unknown' | undefined = machine(noon),
): Promise<Judgement> {
  return judgeLabelled(plan, nodes, async () => asked);
}

describe('judgeLabelled', () => {
  describe('of a reboot', () => {
    it('waits for another bootID, however Ready the node is', async () => {
      const judged = await judge(planOf('reboot'), [node()]);
      expect(judged).to.deep.equal({
        verdict: undefined,
        why: 'node gke-0 has not booted again: its bootID is the same',
      });
    });

    // F-366: a node whose bootID nobody had seen before was taken for rebooted.
    it('waits where the bootID before is not known, unless Compute has started the machine anew', async () => {
      const late = [node({ bootId: 'boot-2' })];
      for (const way of ['reboot', 'maintenance'] as const) {
        const judged = await judge(planOf(way, { before: {} }), late, machine(noon + 60_000));
        expect(judged.why, way).to.match(/did not tell its bootID before/);
      }
      const started = planOf('maintenance', { before: { startedAt: noon } });
      expect((await judge(started, late, 'unknown')).why).to.match(/Compute did not say when/);
      expect((await judge(started, late)).why).to.match(/not started its machine anew/);
      expect(await judge(started, late, machine(noon + 60_000))).to.include({ verdict: 'repaired' });
    });

    // F-362: a Node object was deleted and registered again, and the reboot that it told was not seen.
    it('is repaired although the same machine has another Node object by now', async () => {
      const again = { uid: 'u-7', createdAt: noon + 30_000 };
      const judged = await judge(planOf('reboot'), [node({ ...again, bootId: 'boot-2' })]);
      expect(judged).to.include({ verdict: 'repaired' });
      expect((await judge(planOf('reboot'), [node(again)])).why).to.match(/bootID is the same/);
    });

    it('is repaired with another bootID', async () => {
      const judged = await judge(planOf('reboot'), [node({ bootId: 'boot-2' })]);
      expect(judged).to.deep.equal({ verdict: 'repaired', at: noon + 60_000 });
    });

    // F-264: a node was Ready for 40 minutes after its GPU had died.
    it('waits for Ready and for its accelerators', async () => {
      const dead = await judge(planOf('reboot'), [node({ bootId: 'boot-2', isReady: false })]);
      expect(dead).to.deep.equal({ verdict: undefined, why: '1 of 1 nodes are not Ready' });
      const blind = await judge(planOf('reboot'), [node({ bootId: 'boot-2', lacksAccelerators: true })]);
      expect(blind.verdict).to.equal(undefined);
      expect(blind.why).to.match(/not all of their accelerators are allocatable/);
    });
  });

  describe('of a maintenance', () => {
    const booted = [node({ bootId: 'boot-2' })];

    // F-265: somebody rebooted the guest while the maintenance was pending, and the host was taken for maintained.
    it('waits until Compute has started the machine anew', async () => {
      expect((await judge(planOf('maintenance'), [node()], machine(noon + 1))).verdict).to.equal(undefined);
      const rebooted = await judge(planOf('maintenance'), booted, machine(noon));
      expect(rebooted.verdict).to.equal(undefined);
      expect(rebooted.why).to.match(
        /Compute has not started its machine anew, so its host was not maintained/,
      );
      expect(await judge(planOf('maintenance'), booted, machine(noon + 1))).to.deep.equal({
        verdict: 'repaired',
        at: noon + 60_000,
      });
    });

    it('goes by the bootID, and says so, where Compute may not be asked', async () => {
      const judged = await judge(planOf('maintenance'), booted, 'unknown');
      expect(judged).to.deep.include({ verdict: 'repaired' });
      expect(judged.why).to.match(/by its bootID alone/);
    });

    it('waits while the machine is gone', async () => {
      const judged = await judgeLabelled(planOf('maintenance'), booted, async () => undefined);
      expect(judged).to.deep.equal({ verdict: undefined, why: 'the machine of node gke-0 is gone' });
    });
  });

  describe('of a report', () => {
    const plan = planOf('report_faulty_host', { fault: 'xid' });
    const done = { [statusLabel]: 'OperationDone', [operationLabel]: 'operation-1' };
    const moved = { ...done, [hostLabel]: 'host-2' };

    it('waits for GKE’s words, and passes on those of its stages', async () => {
      const labelled = { [faultLabel]: 'XID' };
      expect((await judge(plan, [node({ labels: labelled })])).why).to.match(/has not said yet/);
      for (const status of ['PodsEvicted', 'OperationRUNNING']) {
        const judged = await judge(plan, [node({ labels: { ...labelled, [statusLabel]: status } })]);
        expect(judged).to.deep.equal({ verdict: undefined, why: `GKE says ${status} of node gke-0` });
      }
    });

    it('is reported once GKE says so and the machine is back on another host', async () => {
      expect(await judge(plan, [node({ labels: moved, bootId: 'boot-2' })])).to.deep.equal({
        verdict: 'reported',
        at: noon + 60_000,
      });
    });

    it('waits for the machine, and is reported without it once time is up', async () => {
      for (const [change, why] of [
        [{ labels: { ...moved, [faultLabel]: 'XID' } }, /has not started again/],
        [{ labels: done, bootId: 'boot-2' }, /is still on host host-1/],
        [{ labels: moved, bootId: 'boot-2', isReady: false }, /1 of 1 nodes are not Ready/],
        [{ labels: moved, bootId: 'boot-2', lacksAccelerators: true }, /accelerators are allocatable/],
      ] as const) {
        const judged = await judge(plan, [node(change)]);
        expect(judged).to.include({ verdict: undefined, onTimeOut: 'reported' });
        expect(judged.why)
          .to.match(/the host of node gke-0 is reported, operation operation-1, and /)
          .and.match(why);
      }
    });

    it('is reported at once in all-capacity mode, and says when the machine comes back', async () => {
      const labels = { ...done, [faultLabel]: 'XID' };
      const judged = await judge({ ...plan, allCapacity: true }, [node({ labels, isReady: false })]);
      expect(judged).to.include({ verdict: 'reported' }).and.not.have.property('at');
      expect(judged.why).to.match(
        /comes back on the same host once that is repaired, which takes 3 to 14 days/,
      );
    });

    for (const word of ['Error', 'ERROR']) {
      it(`has failed where GKE says ${word}, with that word and the operation`, async () => {
        const judged = await judge(plan, [node({ labels: { ...done, [statusLabel]: word } })]);
        expect(judged.verdict).to.equal('report_failed');
        expect(judged.why).to.match(new RegExp(`with ${word}, operation operation-1: `));
      });
    }

    // F-266: the words of a report of last week counted for this one.
    it('does not take the words of an earlier report for those of this one', async () => {
      for (const status of ['OperationDone', 'Error']) {
        const before = { bootId: 'boot-1', status, operation: 'operation-1' };
        const labels = { ...done, [statusLabel]: status, [faultLabel]: 'XID' };
        const judged = await judge({ ...plan, before }, [node({ labels })]);
        expect(judged.why).to.match(/has not said yet/);
        const other = { ...labels, [operationLabel]: 'operation-2' };
        expect((await judge({ ...plan, before }, [node({ labels: other })])).why).to.match(/operation-2/);
      }
    });
  });

  // F-363: somebody took the label away, and the words of last week's report counted.
  it('does not take an earlier report for this one because the label is gone, except where it failed', async () => {
    const plan = (status: string, operation?: string) =>
      planOf('report_faulty_host', {
        before: { bootId: 'boot-1', status, ...(operation === undefined ? {} : { operation }) },
      });
    for (const operation of ['operation-1', undefined]) {
      const named = operation === undefined ? {} : { [operationLabel]: operation };
      const labels = { [statusLabel]: 'OperationDone', [hostLabel]: 'host-2', ...named };
      const judged = await judge(plan('OperationDone', operation), [node({ labels, bootId: 'boot-2' })]);
      expect(judged.why).to.match(/has not said yet/);
    }
    const failed = await judge(plan('Error'), [node({ labels: { [statusLabel]: 'Error' } })]);
    expect(failed).to.include({ verdict: 'report_failed' });
  });

  it('is repaired where GKE has made the machine anew instead, and says so', async () => {
    for (const way of ['reboot', 'maintenance', 'report_faulty_host'] as const) {
      for (const change of [
        { uid: 'u-1', systemUuid: 's-1', instanceId: '200' },
        { instanceId: '200', systemUuid: 's-1' },
      ]) {
        const judged = await judge(planOf(way), [node({ ...change, labels: { [hostLabel]: 'host-2' } })]);
        expect(judged).to.deep.include({ verdict: 'repaired' });
        expect(judged.why).to.match(/another machine runs as node gke-0/);
      }
    }
  });

  it('waits while the node is gone', async () => {
    expect((await judge(planOf('reboot'), [])).why).to.equal('0 of 1 nodes are back');
  });
});
