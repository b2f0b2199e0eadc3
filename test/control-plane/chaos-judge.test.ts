import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import type { Entry, Happening, WatchedPlural } from './chaos-history.ts';
import { judge } from './chaos-judge.ts';
import { nameLanes } from './chaos-lanes.ts';
import { clusterFullName } from './failover-rig.ts';
import { poolLabel } from './world.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/autometric-failover-system/leases';
const config = readConfig({ CLUSTERS: clusterFullName });
const holder = 'lane-0-n1/claim';

/** What a cordon of a node writes and reads, each as the proxy sees it. */
const lock = send('POST', leases, { metadata: { name: 'pool-slice-0a' }, spec: { holderIdentity: holder } });
const look = send('GET', `${leases}/cluster`);
const cordon = send('PATCH', '/api/v1/nodes/node-1', {
  metadata: { uid: 'n1' },
  spec: { unschedulable: true },
});
const locked = lease('pool-slice-0a', holder, 'l1', 5);

describe('the judgement of a history', () => {
  it('finds nothing where the lock is held', () => {
    expect(violationsOf([...lock, locked, ...look, ...cordon])).to.deep.equal([]);
  });

  it('finds a write without the lock', () => {
    const [violation, ...others] = violationsOf([...look, ...cordon]);
    expect(violation).to.match(/^lock-first: lane-0-n1 sends PATCH \/api\/v1\/nodes\/node-1 .* nobody's$/);
    expect(others).to.deep.equal([]);
  });

  it('finds a write with a lock that somebody else has meanwhile', () => {
    const taken = lease('pool-slice-0a', 'lane-0-n2/claim', 'l1', 6);
    const [violation] = violationsOf([...lock, locked, taken, ...look, ...cordon]);
    expect(violation).to.match(/^lock-first: .* which is lane-0-n2\/claim's$/);
  });

  it('knows an object no worse when an older answer comes late, or one about an object that is gone', () => {
    const older = lease('pool-slice-0a', 'lane-0-n2/claim', 'l1', 4);
    const gone = { ...lease('pool-slice-0a', 'lane-0-n2/claim', 'l0', 9), isGone: true };
    const back = lease('pool-slice-0a', 'lane-0-n2/claim', 'l0', 8);
    expect(violationsOf([gone, ...lock, locked, older, back, ...look, ...cordon])).to.deep.equal([]);
  });

  it('holds what was found against the lane that it is about', () => {
    const elsewhere = send('PATCH', '/api/v1/nodes/node-2', { metadata: { uid: 'n2' } });
    const [violation, ...others] = violationsOf([...lock, locked, ...look, ...elsewhere]);
    expect(violation).to.match(/^lock-first: lane-0-n1 sends PATCH \/api\/v1\/nodes\/node-2/);
    expect(others).to.deep.equal([]);
  });

  it('finds a pause that is not looked at', () => {
    const [violation] = violationsOf([...lock, locked, ...cordon]);
    expect(violation).to.match(/^pause-holds: .* without a look at the pause$/);
  });

  it('says how many connections nobody can name', () => {
    const entries = historyOf([...look]).map((entry) =>
      entry.kind === 'connected' ? { ...entry, port: 9 } : entry,
    );
    expect(judge(entries, nameLanes(2), config).unknownSessions).to.equal(1);
  });
});

function violationsOf(happenings: Happening[]): string[] {
  return judge(historyOf(happenings), nameLanes(2), config).violations;
}

/** Two pools of one node each, and an action whose connection is known. */
function historyOf(happenings: Happening[]): Entry[] {
  const body = {
    id: 'lane-0-n1',
    type: 'cordon_nodepool',
    node_pool: 'slice-0a',
    requestor: 'a',
    reason: 'b',
  };
  const before: Happening[] = [
    object('nodes', { name: 'node-1', uid: 'n1', resourceVersion: '1', labels: { [poolLabel]: 'slice-0a' } }),
    object('nodes', { name: 'node-2', uid: 'n2', resourceVersion: '2', labels: { [poolLabel]: 'slice-1a' } }),
    { kind: 'begin' },
    { kind: 'delivery', delivery: 'd1', process: 'instance-0', what: { action: body } },
    { kind: 'connected', process: 'instance-0', port: 1000, pool: '7-0', delivery: 'd1' },
    { kind: 'session', session: 1, port: 1000 },
  ];
  return [...before, ...happenings].map((happening, index) => ({ ...happening, at: 1_000_000 + index }));
}

function object(plural: WatchedPlural, metadata: object): Extract<Happening, { kind: 'object' }> {
  const all = { metadata, spec: {}, status: { conditions: [] } };
  return { kind: 'object', plural, object: all as never };
}

function lease(name: string, holderIdentity: string, uid: string, version: number) {
  const namespace = 'autometric-failover-system';
  const entry = object('leases', { name, namespace, uid, resourceVersion: String(version) });
  return { ...entry, object: { ...entry.object, spec: { holderIdentity } } };
}

function send(method: string, path: string, body?: object): Happening[] {
  const call = Math.random();
  const text = body === undefined ? '' : JSON.stringify(body);
  return [
    { kind: 'call', call, api: 'kubernetes', method, path, body: text, by: { session: 1 } },
    { kind: 'carried_out', call, status: 200 },
  ];
}
