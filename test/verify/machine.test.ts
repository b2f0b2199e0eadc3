import { expect } from 'chai';
import { instanceIdAnnotation } from '../../src/gke/nodes.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { countLabel, hostLabel, topologyLabel } from '../../src/gke/slice.ts';
import type { RepairPlan } from '../../src/plan.ts';
import type { Judgement } from '../../src/verify/judgement.ts';
import { judgeMachine } from '../../src/verify/machine.ts';

const noon = Date.parse('2026-11-23T12:00:00Z');

const plan: RepairPlan = {
  projectId: 'p',
  zone: 'z',
  instanceName: 'gke-0',
  instanceId: '100',
  node: { name: 'gke-0', uid: 'u-0', systemUuid: 's-0' },
  isMultiHost: true,
  why: 'not Ready',
  poolSize: 2,
};

type Change = Partial<Omit<NodeHealth, 'annotations' | 'labels'>> & {
  instanceId?: string | undefined;
  labels?: Record<string, string>;
};

/** A healthy node of a 2-node slice; its index is in all its names. */
function node(index: number, { instanceId = `20${index}`, labels = {}, ...change }: Change = {}): NodeHealth {
  return {
    name: `gke-${index}`,
    uid: `v-${index}`,
    nodePool: 'slice-a',
    labels: { [topologyLabel]: '2x4', [countLabel]: '4', ...labels },
    annotations: instanceId === '' ? {} : { [instanceIdAnnotation]: instanceId },
    createdAt: noon,
    isReady: true,
    readyChangedAt: noon,
    taintKeys: [],
    lacksAccelerators: false,
    problems: [],
    providerId: undefined,
    systemUuid: `t-${index}`,
    ...change,
  };
}

function judge(nodes: NodeHealth[], changed: Partial<RepairPlan> = {}, instanceId?: string): Judgement {
  const { instanceId: planned, ...rest } = { ...plan, ...changed };
  const full = planned === undefined ? rest : { ...rest, instanceId: planned };
  return judgeMachine(full, instanceId ?? planned, nodes);
}

describe('judgeMachine', () => {
  it('is repaired with the time of the last node that became Ready', () => {
    const late = noon + 40_000;
    expect(judge([node(0), node(1, { readyChangedAt: late })])).to.deep.equal({
      verdict: 'repaired',
      at: late,
    });
  });

  describe('of the old machine', () => {
    const why = 'the old machine is still there: node gke-0 runs on it';

    it('waits while a node shows its id, whatever else that node is', () => {
      expect(judge([node(0, { instanceId: '100' }), node(1)])).to.deep.equal({ verdict: undefined, why });
      const renamed = node(7, { instanceId: '100' });
      expect(judge([renamed, node(1)]).why).to.equal('the old machine is still there: node gke-7 runs on it');
    });

    it('waits while the same Node object and the same system say no id', () => {
      const silent = node(0, { instanceId: '', uid: 'u-0', systemUuid: 's-0' });
      expect(judge([silent, node(1)])).to.deep.equal({ verdict: undefined, why });
    });

    it('is gone where another machine has its name, and does not say its id at first', () => {
      const anew = node(0, { instanceId: '', uid: 'v-0', systemUuid: 't-0' });
      expect(judge([anew, node(1)])).to.include({ verdict: 'repaired' });
    });

    it('is gone where the Node object has survived and another system registered', () => {
      const survivor = node(0, { instanceId: '', uid: 'u-0', systemUuid: 't-0' });
      expect(judge([survivor, node(1)])).to.include({ verdict: 'repaired' });
      const annotated = node(0, { instanceId: '200', uid: 'u-0', systemUuid: 't-0' });
      expect(judge([annotated, node(1)])).to.include({ verdict: 'repaired' });
    });

    // F-365: GKE had written the new id, and Ready was still of the machine before.
    it('is there as long as its system reports, whatever id the node shows', () => {
      const early = node(0, { instanceId: '200', uid: 'u-0', systemUuid: 's-0' });
      expect(judge([early, node(1)])).to.deep.equal({ verdict: undefined, why });
    });

    it('is there where its Node object was made anew and does not say its id yet', () => {
      const again = node(0, { instanceId: '', uid: 'u-7', systemUuid: 's-0' });
      expect(judge([again, node(1)])).to.deep.equal({ verdict: undefined, why });
    });

    // F-364: somebody deleted the Node object, and what GKE had begun to repair looked repaired.
    it('is not gone because its Node object was made anew while GKE repairs it', () => {
      const leftTo = {
        outcome: 'gke_is_repairing',
        why: 'x',
        since: new Date(noon - 60_000).toISOString(),
      } as const;
      const again = node(0, { instanceId: '100', uid: 'u-7', systemUuid: 's-0' });
      expect(judge([again, node(1)], { leftTo })).to.deep.equal({ verdict: undefined, why });
      const known = node(0, { instanceId: '100', uid: 'u-0', systemUuid: 's-0' });
      expect(judge([known, node(1)], { leftTo })).to.include({ verdict: 'repaired' });
    });

    it('is told by uid and system where nobody said its id', () => {
      const { instanceId: _, ...silent } = plan;
      const same = node(0, { instanceId: '100', uid: 'u-0', systemUuid: 's-0' });
      expect(judgeMachine(silent, undefined, [same, node(1)])).to.deep.equal({ verdict: undefined, why });
      expect(judgeMachine(silent, undefined, [node(0), node(1)])).to.include({ verdict: 'repaired' });
    });

    it('is told by the id that Compute answered with, where the node did not say it', () => {
      const { instanceId: _, ...silent } = plan;
      const shown = node(0, { instanceId: '100' });
      expect(judgeMachine(silent, '100', [shown, node(1)])).to.deep.equal({ verdict: undefined, why });
    });

    it('is not any node of this name where neither has a system', () => {
      const change = { instanceId: '', uid: 'u-0', systemUuid: undefined };
      expect(judge([node(0, change), node(1)], { node: { name: 'gke-0', uid: 'u-0' } })).to.include({
        verdict: undefined,
      });
      expect(
        judge([node(0, { ...change, uid: 'v-0' }), node(1)], { node: { name: 'gke-0', uid: 'u-0' } }),
      ).to.include({ verdict: 'repaired' });
    });
  });

  describe('of a pool that is not whole', () => {
    it('says how many nodes are back, and what is wrong with them', () => {
      expect(judge([node(1, { isReady: false })])).to.deep.equal({
        verdict: undefined,
        why: '1 of 2 nodes are back; 1 of 1 nodes are not Ready',
      });
      expect(judge([])).to.deep.equal({ verdict: undefined, why: '0 of 2 nodes are back' });
    });

    it('waits for the nodes of the slice although the plan saw fewer', () => {
      const four = { labels: { [topologyLabel]: '4x4' } };
      expect(judge([node(0, four), node(1, four)], { poolSize: 2 }).why).to.equal('2 of 4 nodes are back');
    });

    it('does not believe Ready while accelerators are missing', () => {
      expect(judge([node(0), node(1, { lacksAccelerators: true })])).to.deep.equal({
        verdict: undefined,
        why: '1 of 2 nodes are Ready, but not all of their accelerators are allocatable',
      });
    });

    it('does not count an unready node twice', () => {
      expect(judge([node(0), node(1, { isReady: false, lacksAccelerators: true })]).why).to.equal(
        '1 of 2 nodes are not Ready',
      );
    });
  });

  describe('of a pool without slices', () => {
    const independent = { labels: { [topologyLabel]: '2x2', [countLabel]: '4' } };

    it('wants as many nodes as the plan saw', () => {
      expect(judge([node(0, independent)], { poolSize: 2 }).why).to.equal('1 of 2 nodes are back');
      const gpu = node(0, { labels: { [topologyLabel]: '', 'cloud.google.com/gke-accelerator': 'nvidia' } });
      expect(judge([gpu], { poolSize: 3 }).why).to.equal('1 of 3 nodes are back');
    });

    it('takes a pool that has grown since, once all of it is well', () => {
      const grown = [0, 1, 2].map((index) => node(index, independent));
      expect(judge(grown, { poolSize: 2 })).to.include({ verdict: 'repaired' });
      expect(judge([...grown, node(3, { ...independent, isReady: false })], { poolSize: 2 }).why).to.equal(
        '1 of 4 nodes are not Ready',
      );
    });

    it('wants at least one node where version 0.1.0 recorded no size', () => {
      const { poolSize: _, ...old } = plan;
      expect(judgeMachine(old, '100', []).why).to.equal('0 of 1 nodes are back');
      expect(judgeMachine(old, '100', [node(0, independent)])).to.include({ verdict: 'repaired' });
    });
  });

  describe('of the same physical host', () => {
    const onBad = { labels: { [hostLabel]: 'host-1' } };

    it('says so of a replacement', () => {
      expect(judge([node(0, onBad), node(1)], { host: 'host-1' })).to.deep.equal({
        verdict: 'repaired',
        at: noon,
        isSameHost: true,
        why: 'gke-0 is on host host-1, whose machine was bad',
      });
    });

    it('does not say so where the host differs, or where none is known', () => {
      expect(judge([node(0, onBad), node(1)], { host: 'host-2' })).not.to.have.property('isSameHost');
      expect(judge([node(0, onBad), node(1)])).not.to.have.property('isSameHost');
    });
  });

  it('does not know when, where no node says since when it is Ready', () => {
    const silent = { readyChangedAt: undefined };
    expect(judge([node(0, silent), node(1, silent)])).to.deep.equal({ verdict: 'repaired', at: undefined });
  });
});
