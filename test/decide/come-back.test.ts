import { expect } from 'chai';
import {
  assertTargetNotBack,
  describeReturn,
  findTargetBack,
  hasRecovered,
  withCordonsLeft,
} from '../../src/decide/come-back.ts';
import type { Snapshot } from '../../src/decide/snapshot.ts';
import type { NodeHealth } from '../../src/gke/nodes.ts';
import { countLabel, topologyLabel } from '../../src/gke/slice.ts';
import { Ignored } from '../../src/ignored.ts';
import { actionAnnotation } from '../../src/names.ts';
import { healthOf, incidentOf, onMachine } from '../fixtures/node-health.ts';

const began = Date.parse('2026-11-23T03:00:00Z');
const incident = incidentOf({ startedAt: began });

/** Ready again after the incident began, or not since long before. */
const back = { readyChangedAt: began + 1 };
const slice = { [topologyLabel]: '2x4', [countLabel]: '4' };

function findBack(nodes: NodeHealth[], named?: NodeHealth, about = incident) {
  return findTargetBack(about, { namedNode: named }, { readHealth: async () => nodes });
}

describe('hasRecovered', () => {
  const rows: [string, Partial<NodeHealth>, boolean][] = [
    ['was there and Ready before', {}, false],
    ['was created after the incident began', { createdAt: began + 1 }, true],
    ['was created so, and is not Ready yet', { createdAt: began + 1, isReady: false }, true],
    ['was created as the incident began', { createdAt: began }, false],
    ['became Ready after it', back, true],
    ['became Ready as it began', { readyChangedAt: began }, false],
    ['became not Ready after it', { ...back, isReady: false }, false],
    ['never told whether it is Ready', { readyChangedAt: undefined }, false],
  ];
  for (const [what, change, expected] of rows) {
    it(`is ${expected} for a node that ${what}`, () => {
      expect(hasRecovered(healthOf('gke-0', change), incident)).to.equal(expected);
    });
  }

  it('is told by the creation of the node, or else by its condition Ready', () => {
    const told = (change: Partial<NodeHealth>) => describeReturn(healthOf('gke-0', change), incident);
    const created =
      /^node gke-0 was created at 2026-11-23T03:00:01.*, after the incident began at 2026-11-23T03:00:00/;
    expect(told({ createdAt: began + 1000, readyChangedAt: began + 2000 })).to.match(created);
    const ready = /^node gke-0 is Ready since 2026-11-23T03:00:02/;
    expect(told({ createdAt: began, readyChangedAt: began + 2000 })).to.match(ready);
  });
});

describe('findTargetBack', () => {
  const one = healthOf('gke-0', { ...back, labels: slice });
  const other = healthOf('gke-1', { labels: slice });

  it('asks the node that was named alone', async () => {
    expect(await findBack([other], one)).to.match(/^node gke-0 is Ready since/);
    expect(await findBack([one], other)).to.equal(undefined);
  });

  it('knows that the named node has another machine than the alert was about', async () => {
    const subject = { kind: 'instance', instanceId: '100', zone: 'z' } as const;
    const about = incidentOf({ startedAt: began, subject });
    const replaced = healthOf('gke-0', { annotations: onMachine('200') });
    expect(await findBack([], replaced, about)).to.match(/^node gke-0 has another machine/);
    const same = healthOf('gke-0', { annotations: onMachine('100') });
    expect(await findBack([], same, about)).to.equal(undefined);
    expect(await findBack([], replaced, incident)).to.equal(undefined);
  });

  it('takes a pool for back once every node is Ready, and one of them came back', async () => {
    expect(await findBack([other, one])).to.match(
      /^every node of the pool is Ready, and node gke-0 is Ready since/,
    );
    expect(await findBack([other, other])).to.equal(undefined);
    expect(await findBack([one, { ...other, isReady: false }])).to.equal(undefined);
    expect(await findBack([])).to.equal(undefined);
  });

  it('takes no slice for back that lacks a node, and a pool of single nodes all the same', async () => {
    expect(await findBack([one])).to.equal(undefined);
    expect(await findBack([{ ...one, labels: {} }])).to.match(/^every node of the pool is Ready/);
  });
});

describe('assertTargetNotBack', () => {
  const assertNotBack = (node: NodeHealth) =>
    assertTargetNotBack(incident, { namedNode: node }, { readHealth: async () => [] });

  it('ignores the alert for a node that is back, and says that its problem is over', async () => {
    const thrown: unknown = await assertNotBack(healthOf('gke-0', back)).catch((error: unknown) => error);
    expect(thrown).to.be.instanceOf(Ignored);
    expect(thrown).to.have.property('isOver', true);
    expect((thrown as Ignored).message).to.match(/^recovered: node gke-0 is Ready since/);
  });

  it('lets it act on a node that is not', async () => {
    await assertNotBack(healthOf('gke-0'));
  });
});

describe('withCordonsLeft', () => {
  const by = (action: string) => ({ annotations: { [actionAnnotation]: action } });

  function left(actions: string[], change = {}, isOver = true): Ignored {
    const nodes = {
      schedulable: [],
      cordoned: actions.map((action, index) => healthOf(`n${index}`, by(action))),
    };
    const over = new Ignored('recovered', { isOver });
    const found = withCordonsLeft(over, 'mine', incidentOf(change), { nodes } as unknown as Snapshot);
    if (found === over) return over;
    expect(found.isOver).to.equal(isOver);
    return found;
  }

  it('adds how many nodes the action left cordoned, and counts none of another action', () => {
    expect(left(['mine', 'other']).message).to.equal(
      'recovered; 1 node that it had cordoned stay so until uncordon_nodepool',
    );
    expect(left(['mine', 'other', 'mine'], {}, false).message).to.match(/^recovered; 2 nodes that/);
  });

  it('adds nothing where it left none, or the close of the incident lifts them', () => {
    expect(left(['other']).message).to.equal('recovered');
    expect(left(['mine'], { uncordonsOnClose: true }).message).to.equal('recovered');
  });
});
