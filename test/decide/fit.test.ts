import type { V1Taint, V1Toleration } from '@kubernetes/client-node';
import { expect } from 'chai';
import { amountOf, countPlaces, ignoresCordon, whyUnfit } from '../../src/decide/fit.ts';
import type { NodeRoom } from '../../src/gke/node-room.ts';
import type { PodNeeds } from '../../src/gke/pod-needs.ts';
import { healthOf } from '../fixtures/node-health.ts';

const needs = (change: Partial<PodNeeds> = {}) =>
  ({ tolerations: [], requests: {}, ...change }) as unknown as PodNeeds;

function room(change: Partial<NodeRoom> = {}): NodeRoom {
  return { ...healthOf('gke-0'), isCordoned: false, taints: [], allocatable: { cpu: '4' }, ...change };
}

const spot: V1Taint = { key: 'spot', value: 'true', effect: 'NoSchedule' };

function tolerates(toleration: V1Toleration, taint = spot): boolean {
  return whyUnfit(needs({ tolerations: [toleration] }), room({ taints: [taint] }), 0) === undefined;
}

describe('a toleration', () => {
  const rows: [V1Toleration, boolean][] = [
    [{ operator: 'Exists' }, true],
    [{ key: 'spot', operator: 'Exists' }, true],
    [{ key: 'spot', operator: 'Exists', effect: 'NoSchedule' }, true],
    [{ key: 'spot', operator: 'Exists', effect: 'NoExecute' }, false],
    [{ key: 'other', operator: 'Exists' }, false],
    [{ key: 'spot', operator: 'Equal', value: 'true' }, true],
    [{ key: 'spot', value: 'true' }, true],
    [{ key: 'spot', value: 'false' }, false],
    [{ key: 'spot' }, false],
    [{ value: 'true' }, false],
    [{ key: 'spot', operator: 'Lt', value: 'true' }, false],
  ];
  for (const [toleration, expected] of rows) {
    it(`${JSON.stringify(toleration)} is${expected ? '' : ' not'} one of the taint spot=true`, () => {
      expect(tolerates(toleration)).to.equal(expected);
    });
  }

  it('without a value is one of a taint without a value', () => {
    expect(tolerates({ key: 'spot' }, { key: 'spot', effect: 'NoExecute' })).to.equal(true);
  });
});

describe('whyUnfit', () => {
  it('says nothing of a taint that only prefers, or mirrors what is judged by itself', () => {
    const taints = [
      { key: 'spot', value: 'true', effect: 'PreferNoSchedule' },
      { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' },
      { key: 'node.kubernetes.io/not-ready', effect: 'NoExecute' },
      { key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' },
    ];
    expect(whyUnfit(needs(), room({ taints }), 0)).to.equal(undefined);
    expect(whyUnfit(needs(), room({ taints: [...taints, spot] }), 0)).to.equal('tainted spot');
  });

  it('says that it is cordoned, unless the pod ignores that', () => {
    expect(whyUnfit(needs(), room({ isCordoned: true }), 0)).to.equal('cordoned');
    const named = needs({ nodeName: 'gke-0' });
    expect(ignoresCordon(named)).to.equal(true);
    expect(ignoresCordon(needs())).to.equal(false);
    expect(whyUnfit(named, room({ isCordoned: true }), 0)).to.equal(undefined);
  });

  it('says that it is not Ready once it has been so for a minute', () => {
    const dead = room({ isReady: false, readyChangedAt: 1000 });
    expect(whyUnfit(needs(), dead, 61_000)).to.equal('not Ready');
    expect(whyUnfit(needs(), dead, 60_999)).to.equal(undefined);
  });

  it('says of which resource it has too little', () => {
    const full = { cpu: 4, 'google.com/tpu': 4 };
    expect(whyUnfit(needs({ requests: { cpu: 4 } }), room(), 0)).to.equal(undefined);
    expect(whyUnfit(needs({ requests: full }), room(), 0)).to.equal('too little google.com/tpu');
  });
});

describe('countPlaces', () => {
  const count = (requests: Record<string, number>, allocatable: Record<string, string>) =>
    countPlaces(needs({ requests }), room({ allocatable }));

  it('counts by the scarcest resource', () => {
    expect(count({ cpu: 1, memory: 100 }, { cpu: '4', memory: '250' })).to.equal(2);
    expect(count({ cpu: 0.1 }, { cpu: '300m' })).to.equal(3);
    expect(count({ gpu: 1 }, {})).to.equal(0);
    expect(count({}, {})).to.equal(Infinity);
  });

  it('reads an amount that is no quantity as none', () => {
    expect(amountOf(room({ allocatable: { cpu: 'many' } }), 'cpu')).to.equal(0);
  });
});
