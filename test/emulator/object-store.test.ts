import { expect } from 'chai';
import { ObjectStore } from './object-store.ts';
import type { Pod } from './objects.ts';

describe('ObjectStore', () => {
  it('counts one revision for each write, and none if nothing changes', () => {
    const store = new ObjectStore();
    const pod = store.put('pods', toPod('a'));
    const before = store.revision;
    expect(store.update('pods', pod, () => undefined)).to.equal(pod);
    expect(store.revision).to.equal(before);
    const bound = store.update('pods', pod, ({ spec }) => void (spec.nodeName = 'n'));
    expect(bound.metadata.resourceVersion).to.equal(String(before + 1));
    expect(pod.spec).not.to.have.property('nodeName');
  });

  it('refuses to change an object that is not the stored one any more', () => {
    const store = new ObjectStore();
    const pod = store.put('pods', toPod('a'));
    store.update('pods', pod, ({ spec }) => void (spec.nodeName = 'n'));
    expect(() => store.update('pods', pod, ({ spec }) => void (spec.nodeName = 'm'))).to.throw(
      'stale write to pods',
    );
    store.remove('pods', pod);
    expect(() => store.update('pods', pod, () => undefined)).to.throw('stale write to pods');
  });

  it('lists in order, by namespace, and by index, also after a change', () => {
    const store = new ObjectStore();
    const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.name);
    for (const name of ['c', 'a', 'b']) store.put('pods', toPod(name));
    store.put('pods', toPod('z', 'another'));
    expect(names(store.list('pods'))).to.deep.equal(['z', 'a', 'b', 'c']);
    expect(names(store.list('pods', 'default'))).to.deep.equal(['a', 'b', 'c']);
    for (const name of ['b', 'c']) {
      const pod = store.get('pods', 'default', name);
      if (pod) store.update('pods', pod, ({ spec }) => void (spec.nodeName = 'n'));
    }
    expect(names(store.lookup('pods', 'node', 'n'))).to.deep.equal(['b', 'c']);
    expect(names(store.lookup('pods', 'unbound', 'yes'))).to.deep.equal(['z', 'a']);
    const gone = store.get('pods', 'default', 'b');
    if (gone) store.remove('pods', gone);
    expect(names(store.lookup('pods', 'node', 'n'))).to.deep.equal(['c']);
    expect(store.lookup('pods', 'node', 'none')).to.deep.equal([]);
  });

  it('keeps the latest changes for slow watchers, and says when it no longer has them', () => {
    const store = new ObjectStore();
    const first = store.revision;
    store.put('pods', toPod('a'));
    store.put('pods', toPod('b'));
    const types = (revision: number) =>
      store.changesSince(revision)?.map(({ type, object }) => [type, object.metadata.name]);
    expect(types(first)).to.deep.equal([
      ['ADDED', 'a'],
      ['ADDED', 'b'],
    ]);
    expect(types(first + 1)).to.deep.equal([['ADDED', 'b']]);
    expect(types(store.revision)).to.deep.equal([]);
    for (let count = 0; count < 40_000; count++) store.put('pods', toPod('c'));
    expect(types(first)).to.equal(undefined);
    expect(types(store.revision - 1)).to.deep.equal([['MODIFIED', 'c']]);
  });
});

function toPod(name: string, namespace = 'default'): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid: name, resourceVersion: '', creationTimestamp: '' },
    spec: { containers: [] },
    status: { phase: 'Pending' },
  };
}
