import { expect } from 'chai';
import { assertMayHelp, readCorrelation } from '../../src/decide/correlation.ts';
import type { Correlation } from '../../src/decide/correlation.ts';
import type { Snapshot } from '../../src/decide/snapshot.ts';
import { zoneLabel } from '../../src/gke/nodes.ts';
import type { Action } from '../../src/request/action.ts';
import type { RecentVerdict } from '../../src/state/recent-verdicts.ts';
import type { ClusterSwitches } from '../../src/state/switches.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { healthOf } from '../fixtures/node-health.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { refusal } from '../fixtures/refusal-of.ts';

const now = Date.parse('2026-11-23T03:00:00Z');
const minute = 60_000;
const zoned = (name: string, zone = 'a') => healthOf(name, { labels: { [zoneLabel]: zone } });

function verdict(id: string, change: Partial<RecentVerdict> = {}): RecentVerdict {
  const what = { verdict: 'not_recovered', hasHelped: false, jobSet: undefined, zone: 'a' } as const;
  return { id, at: now - 10 * minute, nodePool: `pool-${id}`, ...what, ...change };
}

type Accelerated = Correlation['nodes'][number];

/** So many nodes of a pool in zone a. */
function pool(nodePool: string, count: number, change: Partial<Accelerated> = {}): Accelerated[] {
  const one = { nodePool, zone: 'a', isBad: false, ...change };
  return Array.from({ length: count }, (_one, index) => ({ name: `${nodePool}-${index}`, ...one }));
}

interface Case extends Partial<Correlation> {
  restart?: boolean;
  named?: string;
  own?: ReturnType<typeof healthOf>[];
}

function ask({ verdicts = [], nodes = [], restart = true, named, own = [zoned('gke-0')] }: Case) {
  const action = { namespace: 'default', jobSetName: 'train', effects: { restart } } as unknown as Action;
  const shown = { schedulable: own.slice(1), cordoned: own.slice(0, 1) };
  const namedNode = own.find(({ name }) => name === named);
  const snapshot = { nodes: shown, namedNode } as unknown as Snapshot;
  assertMayHelp(action, snapshot, { verdicts, nodes }, { serverNow: now } as ClusterSwitches);
}

function refused(of: Case) {
  const { code, message, headers } = refusal(() => ask(of));
  expect(code).to.equal('correlated_failure');
  return { message, retryAfter: headers?.['Retry-After'] };
}

describe('assertMayHelp', () => {
  it('refuses where two pools of the zone have failed to come back, and shows the latest first', () => {
    const { message, retryAfter } = refused({
      verdicts: [verdict('1', { at: now - 20 * minute }), verdict('2', { at: now - 5 * minute })],
    });
    expect(message).to.match(
      /^2 restarts or repairs in zone a have failed to help within the hour \(2 on pool-2 not_recovered at 2026-11-23T02:55:00Z; 1 on pool-1 not_recovered at 2026-11-23T02:40:00Z\), so one more/,
    );
    expect(retryAfter).to.equal(String(40 * 60));
  });

  it('shows five, and how many more there are', () => {
    const many = (count: number) => Array.from({ length: count }, (_one, index) => verdict(String(index)));
    expect(refused({ verdicts: many(5) }).message).to.match(/; 4 on pool-4 not_recovered at [^;]*\), so/);
    expect(refused({ verdicts: many(7) }).message).to.match(
      /^7 restarts .*; 4 on pool-4 [^;]*; 2 more\), so/,
    );
  });

  it('asks for at least one second of patience', () => {
    const old = { at: now - 60 * minute };
    expect(refused({ verdicts: [verdict('1', old), verdict('2', old)] }).retryAfter).to.equal('1');
  });

  it('counts pools in a zone, not the failures of one', () => {
    ask({ verdicts: [verdict('1')] });
    ask({ verdicts: [verdict('1'), verdict('2', { nodePool: 'pool-1' })] });
  });

  it('does not refuse while as many have helped', () => {
    const helped = { hasHelped: true, verdict: 'recovered' } as const;
    ask({ verdicts: [verdict('1'), verdict('2'), verdict('3', helped), verdict('4', helped)] });
    const { message } = refused({ verdicts: [verdict('1'), verdict('2'), verdict('3', helped)] });
    expect(message).to.match(/^2 restarts/);
  });

  it('takes the zone of a verdict that has none from the nodes of its pool', () => {
    const verdicts = [verdict('1', { zone: undefined }), verdict('2', { zone: undefined })];
    ask({ verdicts });
    ask({ verdicts, nodes: [...pool('pool-1', 1), ...pool('pool-2', 1, { zone: 'b' })] });
    const nodes = [...pool('pool-1', 1, { zone: 'b' }), ...pool('pool-1', 1), ...pool('pool-2', 1)];
    expect(refused({ verdicts, nodes }).message).to.match(/in zone a have failed/);
    ask({ verdicts: [verdict('1'), verdict('2', { zone: 'b' })], nodes });
  });

  it('looks at the zone of the node that was named, or else of all nodes of the pool', () => {
    const verdicts = [verdict('1', { zone: 'b' }), verdict('2', { zone: 'b' })];
    const own = [zoned('gke-0', 'a'), zoned('gke-1', 'b')];
    expect(refused({ verdicts, own }).message).to.match(/in zone b/);
    ask({ verdicts, own, named: 'gke-0' });
    expect(refused({ verdicts, own, named: 'gke-1' }).message).to.match(/in zone b/);
    ask({ verdicts: [verdict('1'), verdict('2')], own: [healthOf('gke-0')] });
  });

  it('counts the actions for a JobSet, in whichever zone', () => {
    const ofTrain = { jobSet: 'default/train', nodePool: 'pool', zone: 'z' };
    const verdicts = [verdict('1', ofTrain), verdict('2', ofTrain)];
    expect(refused({ verdicts }).message).to.match(
      /^2 restarts or repairs of JobSet default\/train have failed/,
    );
    ask({ verdicts, restart: false });
    ask({ verdicts: [verdict('1', { zone: 'z' }), verdict('2', { zone: 'z' })], restart: false });
    ask({ verdicts: [verdict('1', ofTrain), verdict('2', { ...ofTrain, jobSet: 'default/other' })] });
    ask({ verdicts: [verdict('1', ofTrain), verdict('1', ofTrain)] });
  });

  it('refuses where more than a third of the zone is bad, in two pools or more', () => {
    const bad = (name: string, count: number) => pool(name, count, { isBad: true });
    const { message, retryAfter } = refused({ nodes: [...bad('p', 1), ...bad('q', 2), ...pool('r', 5)] });
    expect(message).to.match(
      /^3 of 8 accelerator nodes in zone a are not Ready or lack their accelerators \(q 2, p 1\), so/,
    );
    expect(retryAfter).to.equal('600');
    ask({ nodes: [...bad('p', 1), ...bad('q', 2), ...pool('r', 6)] });
    ask({ nodes: [...bad('q', 3), ...pool('r', 5)] });
    ask({ nodes: [...bad('p', 1), ...pool('q', 2, { isBad: true, zone: 'b' }), ...pool('r', 5)] });
    const six = ['p', 'q', 'r', 's', 't', 'u', 'v'].flatMap((name) => bad(name, 1));
    expect(refused({ nodes: six }).message).to.match(/\(p 1, q 1, r 1, s 1, t 1, 2 more pools\)/);
    expect(refused({ nodes: six.slice(0, 5) }).message).to.match(/\(p 1, q 1, r 1, s 1, t 1\)/);
  });
});

describe('readCorrelation', () => {
  const ask = (kubernetes: Parameters<typeof readCorrelation>[0], restart: boolean, repair: boolean) =>
    readCorrelation(kubernetes, { effects: { restart, repair } } as unknown as Action);

  it('reads each node with accelerators once, and whether it is bad', async () => {
    const { kubernetes, cluster, emulator } = createInMemoryWorld();
    const names = ['slice-a', 'slice-b'].flatMap((slice) => nodeNames(cluster, slice));
    const [first = ''] = names;
    cluster.killNode(first);
    const found = await ask(kubernetes, true, false);
    expect(found?.verdicts).to.deep.equal([]);
    expect(found?.nodes.map(({ name }) => name).sort()).to.deep.equal(names.sort());
    expect(found?.nodes.filter(({ isBad }) => isBad).map(({ name }) => name)).to.deep.equal([first]);
    expect(found?.nodes.find(({ name }) => name === first)).to.include({
      nodePool: 'slice-a',
      zone: 'us-central1-a',
    });
    expect(emulator.writes()).to.deep.equal([]);
  });

  it('reads nothing for an action that neither restarts nor repairs', async () => {
    const { kubernetes, emulator } = createInMemoryWorld();
    const before = emulator.requests.length;
    expect(await ask(kubernetes, false, false)).to.equal(undefined);
    expect(emulator.requests).to.have.length(before);
    expect(await ask(kubernetes, false, true)).not.to.equal(undefined);
  });
});
