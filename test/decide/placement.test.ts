import type { V1NodeSelectorTerm, V1PodSpec } from '@kubernetes/client-node';
import { expect } from 'chai';
import { isPinnedTo, matchesNode, namesOtherPool } from '../../src/decide/placement.ts';
import { toPodNeeds } from '../../src/gke/pod-needs.ts';

const poolLabel = 'cloud.google.com/gke-nodepool';
const hostLabel = 'kubernetes.io/hostname';
const hostnames = new Set(['gke-a-1', 'gke-a-2']);

describe('isPinnedTo', () => {
  for (const { name, spec } of [
    { name: 'a selector for the pool', spec: toSpec({ [poolLabel]: 'pool-a' }) },
    {
      name: 'a selector for the pool among others',
      spec: toSpec({ 'cloud.google.com/gke-tpu-topology': '8x8', [poolLabel]: 'pool-a' }),
    },
    { name: 'a selector for one of its nodes', spec: toSpec({ [hostLabel]: 'gke-a-2' }) },
    { name: 'an affinity to the pool', spec: toSpec({}, [toTerm(poolLabel, 'In', 'pool-a')]) },
    {
      name: 'an affinity to the pool and to something else',
      spec: toSpec({}, [
        {
          matchExpressions: [
            { key: 'zone', operator: 'In', values: ['a', 'b'] },
            { key: poolLabel, operator: 'In', values: ['pool-a'] },
          ],
        },
      ]),
    },
    {
      name: 'affinities that all lead to the pool or its nodes',
      spec: toSpec({}, [toTerm(poolLabel, 'In', 'pool-a'), toTerm(hostLabel, 'In', 'gke-a-1', 'gke-a-2')]),
    },
    {
      name: 'an affinity to the names of its nodes',
      spec: toSpec({}, [
        { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['gke-a-1', 'gke-a-2'] }] },
      ]),
    },
  ]) {
    it(`is true for a pod with ${name}`, () => {
      expect(isPinnedTo(toPodNeeds({ spec }), 'pool-a', hostnames)).to.equal(true);
    });
  }

  for (const { name, spec } of [
    { name: 'nothing', spec: toSpec({}) },
    { name: 'a selector for another pool', spec: toSpec({ [poolLabel]: 'pool-b' }) },
    { name: 'a selector for another node', spec: toSpec({ [hostLabel]: 'gke-b-1' }) },
    { name: 'a selector for the topology', spec: toSpec({ 'cloud.google.com/gke-tpu-topology': '8x8' }) },
    { name: 'an affinity to two pools', spec: toSpec({}, [toTerm(poolLabel, 'In', 'pool-a', 'pool-b')]) },
    {
      name: 'affinities to one pool or the other',
      spec: toSpec({}, [toTerm(poolLabel, 'In', 'pool-a'), toTerm(poolLabel, 'In', 'pool-b')]),
    },
    {
      name: 'an affinity to the pool or to whatever has a label',
      spec: toSpec({}, [toTerm(poolLabel, 'In', 'pool-a'), toTerm('tpu', 'Exists')]),
    },
    { name: 'an affinity away from the pool', spec: toSpec({}, [toTerm(poolLabel, 'NotIn', 'pool-a')]) },
    { name: 'an affinity to any pool', spec: toSpec({}, [toTerm(poolLabel, 'Exists')]) },
    {
      name: 'an affinity to a node of it and another',
      spec: toSpec({}, [toTerm(hostLabel, 'In', 'gke-a-1', 'gke-b-1')]),
    },
    {
      name: 'an affinity to the name of another node',
      spec: toSpec({}, [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['gke-b-1'] }] }]),
    },
    {
      name: 'only a preference for the pool',
      spec: {
        containers: [],
        affinity: {
          nodeAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              { weight: 100, preference: toTerm(poolLabel, 'In', 'pool-a') },
            ],
          },
        },
      },
    },
  ]) {
    it(`is false for a pod with ${name}`, () => {
      expect(isPinnedTo(toPodNeeds({ spec }), 'pool-a', hostnames)).to.equal(false);
    });
  }
});

describe('namesOtherPool', () => {
  const names = (...terms: V1NodeSelectorTerm[]) =>
    namesOtherPool(toPodNeeds({ spec: toSpec({}, terms) }), 'pool-a');

  it('is true where an affinity names another pool, among whatever else', () => {
    expect(names(toTerm(poolLabel, 'In', 'pool-b'))).to.equal(true);
    expect(names(toTerm(poolLabel, 'In', 'pool-a', 'pool-b'))).to.equal(true);
    expect(names(toTerm('zone', 'In', 'a'), toTerm(poolLabel, 'In', 'pool-b'))).to.equal(true);
    const both = [
      ...(toTerm('zone', 'Exists').matchExpressions ?? []),
      ...(toTerm(poolLabel, 'In', 'pool-b').matchExpressions ?? []),
    ];
    expect(names({ matchExpressions: both })).to.equal(true);
  });

  it('is false where none does', () => {
    expect(names(toTerm(poolLabel, 'In', 'pool-a'))).to.equal(false);
    expect(names(toTerm(poolLabel, 'NotIn', 'pool-b'))).to.equal(false);
    expect(names(toTerm('zone', 'In', 'pool-b'))).to.equal(false);
    expect(names({ matchExpressions: [{ key: poolLabel, operator: 'In' }] })).to.equal(false);
    expect(names({})).to.equal(false);
    expect(namesOtherPool(toPodNeeds({ spec: toSpec({}) }), 'pool-a')).to.equal(false);
  });
});

describe('a comparison of labels', () => {
  const matches = (label: string | undefined, operator: string, ...values: string[]) =>
    matchesNode(toPodNeeds({ spec: toSpec({}, [toTerm('size', operator, ...values)]) }), {
      name: 'n',
      labels: label === undefined ? {} : { size: label },
    });

  it('is one of whole numbers, with a sign or without', () => {
    const rows: [string, string, string, boolean][] = [
      ['5', 'Gt', '4', true],
      ['4', 'Gt', '4', false],
      ['-5', 'Lt', '+4', true],
      ['4', 'Lt', '4', false],
      ['12', 'Gt', '9', true],
      ['5x', 'Gt', '4', false],
      ['x5', 'Gt', '4', false],
      ['5', 'Gt', 'x', false],
      ['5', 'Lt', 'x', false],
      ['1e3', 'Gt', '4', false],
      ['0x9', 'Gt', '4', false],
    ];
    for (const [label, operator, value, expected] of rows) {
      expect(matches(label, operator, value), `${label} ${operator} ${value}`).to.equal(expected);
    }
    expect(matches(undefined, 'Gt', '4')).to.equal(false);
    expect(matches(undefined, 'Lt', '4')).to.equal(false);
  });

  it('needs values where it compares with some', () => {
    const bare = (operator: string) =>
      matchesNode(
        { nodeSelector: {}, terms: [{ matchExpressions: [{ key: 'size', operator }] }] },
        {
          name: 'n',
          labels: { size: 'Stryker was here' },
        },
      );
    expect(bare('In')).to.equal(false);
    expect(bare('NotIn')).to.equal(true);
  });

  it('matches one label and one field alike, and nothing by an empty term', () => {
    const one = {
      matchExpressions: [{ key: 'a', operator: 'Exists' }],
      matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }],
    };
    const node = { name: 'n', labels: { a: '1' } };
    expect(matchesNode({ nodeSelector: {}, terms: [one] }, node)).to.equal(true);
    expect(matchesNode({ nodeSelector: {}, terms: [{}] }, node)).to.equal(false);
  });
});

describe('matchesNode', () => {
  it('is true for the nodes that have every label of the selector', () => {
    const needs = toPodNeeds({ spec: toSpec({ topology: '8x8', type: 'tpu-v6e-slice' }) });
    expect(matchesNode(needs, { name: 'n', labels: { topology: '8x8', type: 'tpu-v6e-slice' } })).to.equal(
      true,
    );
    expect(matchesNode(needs, { name: 'n', labels: { topology: '8x8', type: 'tpu7x' } })).to.equal(false);
    expect(matchesNode(needs, { name: 'n', labels: { topology: '8x8' } })).to.equal(false);
  });

  const nodes = {
    'gke-b-1': { [poolLabel]: 'pool-b', generation: '6', tpu: '' },
    'gke-c-1': { [poolLabel]: 'pool-c', generation: '7' },
    'gke-d-1': { [poolLabel]: 'pool-d' },
  };
  for (const { name, terms, matching } of [
    { name: 'In', terms: [toTerm(poolLabel, 'In', 'pool-b', 'pool-c')], matching: 2 },
    { name: 'In of a label that is absent', terms: [toTerm('generation', 'In', '7')], matching: 1 },
    { name: 'NotIn, which an absent label passes', terms: [toTerm('generation', 'NotIn', '7')], matching: 2 },
    { name: 'Exists, also of an empty value', terms: [toTerm('tpu', 'Exists')], matching: 1 },
    { name: 'DoesNotExist', terms: [toTerm('tpu', 'DoesNotExist')], matching: 2 },
    { name: 'Gt', terms: [toTerm('generation', 'Gt', '6')], matching: 1 },
    { name: 'Lt', terms: [toTerm('generation', 'Lt', '7')], matching: 1 },
    { name: 'Gt of a text, which is no number', terms: [toTerm('tpu', 'Gt', '-1')], matching: 0 },
    { name: 'an operator that nobody knows', terms: [toTerm('tpu', 'Like', '*')], matching: 0 },
    {
      name: 'several terms, of which one is enough',
      terms: [toTerm(poolLabel, 'In', 'pool-b'), toTerm('tpu', 'DoesNotExist')],
      matching: 3,
    },
    {
      name: 'several expressions, which must all hold',
      terms: [
        {
          matchExpressions: [
            { key: 'generation', operator: 'Exists' },
            { key: 'tpu', operator: 'DoesNotExist' },
          ],
        },
      ],
      matching: 1,
    },
    {
      name: 'the name of a node',
      terms: [{ matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['gke-d-1'] }] }],
      matching: 2,
    },
    { name: 'a term with nothing in it, which matches nothing', terms: [{}], matching: 0 },
  ]) {
    it(`matches ${matching} of three by ${name}`, () => {
      const needs = toPodNeeds({ spec: toSpec({}, terms) });
      const found = Object.entries(nodes).filter(([name, labels]) => matchesNode(needs, { name, labels }));
      expect(found).to.have.length(matching);
    });
  }
});

function toSpec(nodeSelector: Record<string, string>, terms?: V1NodeSelectorTerm[]): V1PodSpec {
  return {
    containers: [],
    nodeSelector,
    ...(terms
      ? {
          affinity: {
            nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } },
          },
        }
      : {}),
  };
}

function toTerm(key: string, operator: string, ...values: string[]): V1NodeSelectorTerm {
  return { matchExpressions: [{ key, operator, ...(values.length > 0 ? { values } : {}) }] };
}
