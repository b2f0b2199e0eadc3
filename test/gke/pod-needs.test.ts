import type { V1PodSpec } from '@kubernetes/client-node';
import { expect } from 'chai';
import { toPodNeeds } from '../../src/gke/pod-needs.ts';
import { toQuantity } from '../../src/gke/quantity.ts';

const exclusive = 'alpha.jobset.sigs.k8s.io/exclusive-topology';

function requestsOf(spec: V1PodSpec): Record<string, number> {
  return toPodNeeds({ spec }).requests;
}

function container(requests: Record<string, string>, restartPolicy?: string) {
  return { name: 'c', resources: { requests }, ...(restartPolicy && { restartPolicy }) };
}

describe('toQuantity', () => {
  for (const [text, amount] of [
    ['4', 4],
    ['250m', 0.25],
    ['16393244Ki', 16393244 * 1024],
    ['1.5Gi', 1610612736],
    ['1e3', 1000],
    ['2E', 2e18],
    ['2E3', 2000],
    ['100n', 1e-7],
    [8, 8],
  ] as const) {
    it(`reads ${text}`, () => {
      expect(toQuantity(text)).to.be.closeTo(amount, amount * 1e-9);
    });
  }

  for (const text of ['', 'four', '4 chips', '4x', '4KI']) {
    it(`reads no amount in "${text}"`, () => {
      expect(toQuantity(text)).to.deep.equal(Number.NaN);
    });
  }
});

describe('toPodNeeds', () => {
  it('adds up what the containers request', () => {
    const containers = [container({ cpu: '500m', 'google.com/tpu': '4' }), container({ cpu: '1' })];
    expect(requestsOf({ containers })).to.deep.equal({ cpu: 1.5, 'google.com/tpu': 4 });
  });

  it('takes a limit for the request where there is no request', () => {
    const resources = { limits: { 'google.com/tpu': '4', cpu: '8' }, requests: { cpu: '1' } };
    expect(requestsOf({ containers: [{ name: 'c', resources }] })).to.deep.equal({
      'google.com/tpu': 4,
      cpu: 1,
    });
  });

  it('takes the largest init container where it needs more, and adds the sidecars to both', () => {
    const containers = [container({ cpu: '2', memory: '1Gi' })];
    const initContainers = [
      container({ cpu: '5' }),
      container({ cpu: '1', memory: '1Mi' }, 'Always'),
      container({ memory: '512Mi' }),
    ];
    const gib = 2 ** 30;
    expect(requestsOf({ containers, initContainers })).to.deep.equal({ cpu: 6, memory: gib + 2 ** 20 });
  });

  it('takes what the whole pod requests, and the overhead of its runtime class', () => {
    const spec = { containers: [container({ cpu: '1' })], resources: { requests: { cpu: '3' } } };
    expect(requestsOf({ ...spec, overhead: { cpu: '250m' } })).to.deep.equal({ cpu: 3.25 });
  });

  it('leaves out what is no amount, and what is none', () => {
    expect(requestsOf({ containers: [container({ cpu: '0', memory: 'much' })] })).to.deep.equal({});
  });

  it('is exclusive by JobSet’s annotation, unless its controller has chosen the nodes by a selector', () => {
    const annotations = { [exclusive]: 'pool' };
    expect(toPodNeeds({ metadata: { annotations } }).exclusiveTopology).to.equal('pool');
    const selecting = { ...annotations, 'alpha.jobset.sigs.k8s.io/node-selector': 'true' };
    expect(toPodNeeds({ metadata: { annotations: selecting } }).exclusiveTopology).to.equal(undefined);
  });
});
