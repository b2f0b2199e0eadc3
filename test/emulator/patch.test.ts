import { expect } from 'chai';
import { ApiStatus } from './api-status.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from './patch.ts';
import type { JsonObject } from './objects.ts';

describe('applyMergePatch', () => {
  // The examples of RFC 7386, appendix A.
  const cases: { target: unknown; patch: unknown; result: unknown }[] = [
    { target: { a: 'b' }, patch: { a: 'c' }, result: { a: 'c' } },
    { target: { a: 'b' }, patch: { b: 'c' }, result: { a: 'b', b: 'c' } },
    { target: { a: 'b' }, patch: { a: null }, result: {} },
    { target: { a: 'b', b: 'c' }, patch: { a: null }, result: { b: 'c' } },
    { target: { a: ['b'] }, patch: { a: 'c' }, result: { a: 'c' } },
    { target: { a: 'c' }, patch: { a: ['b'] }, result: { a: ['b'] } },
    { target: { a: { b: 'c' } }, patch: { a: { b: 'd', c: null } }, result: { a: { b: 'd' } } },
    { target: { a: [{ b: 'c' }] }, patch: { a: [1] }, result: { a: [1] } },
    { target: { e: null }, patch: { a: 1 }, result: { e: null, a: 1 } },
    { target: {}, patch: { a: { bb: { ccc: null } } }, result: { a: { bb: {} } } },
  ];
  for (const { target, patch, result } of cases) {
    it(`${JSON.stringify(target)} with ${JSON.stringify(patch)} is ${JSON.stringify(result)}`, () => {
      const before = JSON.stringify(target);
      expect(applyMergePatch(target, patch)).to.deep.equal(result);
      expect(JSON.stringify(target)).to.equal(before);
    });
  }
});

describe('applyStrategicMergePatch', () => {
  const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady' };
  const pressure = { type: 'DiskPressure', status: 'False' };
  const node = (): JsonObject => ({
    metadata: { finalizers: ['a', 'b'], labels: { x: '1', y: '2' } },
    spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] },
    status: { conditions: [ready, pressure] },
  });

  it('merges a list by its key', () => {
    const patch = {
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'New', status: 'True' },
        ],
      },
    };
    expect(applyStrategicMergePatch('Node', node(), patch)['status']).to.deep.equal({
      conditions: [{ ...ready, status: 'False' }, pressure, { type: 'New', status: 'True' }],
    });
  });

  it('deletes a list item, or replaces a list or a map, on a directive', () => {
    const gone = { status: { conditions: [{ type: 'Ready', $patch: 'delete' }] } };
    expect(applyStrategicMergePatch('Node', node(), gone)['status']).to.deep.equal({
      conditions: [pressure],
    });
    const replaced = { status: { conditions: [pressure, { $patch: 'replace' }] } };
    expect(applyStrategicMergePatch('Node', node(), replaced)['status']).to.deep.equal({
      conditions: [pressure],
    });
    const labels = { metadata: { labels: { z: '3', $patch: 'replace' } } };
    const { metadata } = applyStrategicMergePatch('Node', node(), labels) as { metadata: { labels: object } };
    expect(metadata.labels).to.deep.equal({ z: '3' });
  });

  it('adds to a set, and removes from it on a directive', () => {
    const patch = { metadata: { finalizers: ['b', 'c'], '$deleteFromPrimitiveList/finalizers': ['a'] } };
    const { metadata } = applyStrategicMergePatch('Node', node(), patch) as {
      metadata: { finalizers: string[] };
    };
    expect(metadata.finalizers).to.deep.equal(['b', 'c']);
  });

  it('replaces a list without a key, and removes with null', () => {
    const patch = { spec: { taints: [{ key: 'other' }] }, metadata: { labels: { x: null } } };
    const result = applyStrategicMergePatch('Node', node(), patch) as {
      metadata: { labels: object };
      spec: object;
    };
    expect(result.spec).to.deep.equal({ taints: [{ key: 'other' }] });
    expect(result.metadata.labels).to.deep.equal({ y: '2' });
  });
});

describe('applyJsonPatch', () => {
  const target = (): JsonObject => ({ metadata: { annotations: { 'a/b': '1' } }, list: ['x', 'y'] });
  const cases: { operations: object[]; result: JsonObject }[] = [
    {
      operations: [{ op: 'test', path: '/metadata/annotations/a~1b', value: '1' }],
      result: target(),
    },
    {
      operations: [{ op: 'add', path: '/list/1', value: 'z' }],
      result: { ...target(), list: ['x', 'z', 'y'] },
    },
    {
      operations: [{ op: 'add', path: '/list/-', value: 'z' }],
      result: { ...target(), list: ['x', 'y', 'z'] },
    },
    {
      operations: [{ op: 'replace', path: '/list/0', value: 'z' }],
      result: { ...target(), list: ['z', 'y'] },
    },
    { operations: [{ op: 'remove', path: '/list/0' }], result: { ...target(), list: ['y'] } },
    {
      operations: [{ op: 'move', from: '/list/0', path: '/metadata/moved' }],
      result: { metadata: { annotations: { 'a/b': '1' }, moved: 'x' }, list: ['y'] },
    },
    { operations: [{ op: 'copy', from: '/list/0', path: '/copied' }], result: { ...target(), copied: 'x' } },
    {
      operations: [{ op: 'remove', path: '/metadata/annotations/a~1b' }],
      result: { ...target(), metadata: { annotations: {} } },
    },
  ];
  for (const { operations, result } of cases) {
    it(JSON.stringify(operations), () => {
      expect(applyJsonPatch(target(), operations)).to.deep.equal(result);
    });
  }

  for (const operation of [
    { op: 'test', path: '/list/0', value: 'y' },
    { op: 'remove', path: '/none' },
    { op: 'replace', path: '/none', value: 1 },
    { op: 'add', path: '/none/below', value: 1 },
    { op: 'add', path: '/list/7', value: 1 },
    { op: 'spell', path: '/list' },
  ]) {
    it(`refuses ${JSON.stringify(operation)}`, () => {
      expect(() => applyJsonPatch(target(), [operation]))
        .to.throw(ApiStatus)
        .that.includes({ code: 422 });
    });
  }
});
