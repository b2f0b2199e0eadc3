import { expect } from 'chai';
import { FailoverError } from '../../src/errors.ts';
import { failoverNamespace } from '../../src/names.ts';
import {
  assertBudgetLeft,
  chargeBudget,
  isBudgetBroken,
  noteRefusedPool,
  readMaxPools,
  readRefusedPools,
} from '../../src/state/budget.ts';
import { assertNotPaused, describeOverride, readSwitches, refusePaused } from '../../src/state/switches.ts';
import { countWrites } from '../fixtures/count-writes.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const two = { count: 2, why: '' };

function createWorld(): InMemoryWorld {
  return createInMemoryWorld({ slices: [], jobSet: null });
}

/** `kubectl annotate lease cluster`; null takes an annotation away. */
function annotate(world: InMemoryWorld, key: string, value: string | null): void {
  annotateWith(world, { [`autometric-failover/${key}`]: value });
}

function annotateWith({ cluster }: InMemoryWorld, annotations: Record<string, string | null>): void {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${failoverNamespace}/leases/cluster`;
  const patch = { metadata: { annotations } };
  const headers = { 'content-type': 'application/merge-patch+json' };
  expect(cluster.ask('PATCH', path, patch, headers).status).to.equal(200);
}

function clusterAnnotations({ cluster }: InMemoryWorld): Record<string, string> {
  return cluster.get('leases', failoverNamespace, 'cluster')?.metadata.annotations ?? {};
}

async function charge(world: InMemoryWorld, nodePool: string, { isAlert = false } = {}): Promise<void> {
  const known = await readSwitches(world.kubernetes);
  await chargeBudget(world.kubernetes, nodePool, { isAlert, known, maxPools: two });
}

function at({ clock }: InMemoryWorld, seconds: number): string {
  return new Date(clock.now() + seconds * 1000).toISOString();
}

describe('readSwitches', () => {
  it('finds nothing set on the deployed Lease, or when there is no Lease', async () => {
    const world = createWorld();
    const off = { pausedFor: undefined, overrideUntil: undefined };
    expect(await readSwitches(world.kubernetes)).to.deep.include(off);
    world.cluster.remove('leases', failoverNamespace, 'cluster');
    expect(await readSwitches(world.kubernetes)).to.deep.include({ ...off, lease: undefined });
  });

  for (const [seconds, isLifted] of [
    [-1, false],
    [0, false],
    [1, true],
    [3600, true],
    [3601, false],
  ] as const) {
    it(`${isLifted ? 'takes' : 'ignores'} an override that ends in ${seconds} s`, async () => {
      const world = createWorld();
      annotate(world, 'override-until', at(world, seconds));
      const { overrideUntil } = await readSwitches(world.kubernetes);
      expect(overrideUntil).to.equal(isLifted ? world.clock.now() + seconds * 1000 : undefined);
    });
  }

  it('ignores an override that is not a time', async () => {
    const world = createWorld();
    annotate(world, 'override-until', 'tomorrow');
    expect((await readSwitches(world.kubernetes)).overrideUntil).to.equal(undefined);
  });

  it('uses the API server’s clock', async () => {
    const world = createWorld();
    annotate(world, 'override-until', at(world, 3600));
    const kubernetes = world.connect({ skewMs: -120_000 });
    expect((await readSwitches(kubernetes)).overrideUntil).not.to.equal(undefined);
  });
});

describe('assertNotPaused', () => {
  it('passes a cluster that nobody has paused', async () => {
    await assertNotPaused(createWorld().kubernetes);
  });

  it('refuses with the reason and the command that resumes', async () => {
    const world = createWorld();
    annotate(world, 'paused', 'the storage is down, ask Kim');
    const refusal = await refusalOf(assertNotPaused(world.kubernetes));
    expect(refusal).to.include({ code: 'paused', status: 409 });
    expect(refusal.message).to.equal(
      'failover is paused for this cluster: the storage is down, ask Kim; to resume: ' +
        'kubectl annotate lease cluster -n autometric-failover-system autometric-failover/paused-',
    );
    annotate(world, 'paused', null);
    await assertNotPaused(world.kubernetes);
  });

  it('treats an empty reason as paused too', async () => {
    const world = createWorld();
    annotate(world, 'paused', '');
    expect((await refusalOf(assertNotPaused(world.kubernetes))).message).to.include('no reason given');
    expect(() =>
      refusePaused({ pausedFor: undefined, pausedBy: undefined, unknownKey: undefined }),
    ).not.to.throw();
  });
});

// F-142: a misspelt pause did not pause.
describe('an annotation of ours that is no switch', () => {
  for (const [key, hint] of [
    ['pause', 'did you mean autometric-failover/paused?'],
    ['Paused', 'did you mean autometric-failover/paused?'],
    ['override_until', 'did you mean autometric-failover/override-until?'],
    ['stop-everything', 'the switches are autometric-failover/paused and autometric-failover/override-until'],
  ] as const) {
    it(`refuses everything until it is gone: ${key}`, async () => {
      const world = createWorld();
      annotate(world, key, 'x');
      for (const work of [assertNotPaused(world.kubernetes), charge(world, 'slice-a')]) {
        const refusal = await refusalOf(work);
        expect(refusal.code).to.equal('paused');
        expect(refusal.message).to.include(hint);
        expect(refusal.message).to.match(
          new RegExp(`annotate lease cluster .* autometric-failover/${key}-$`),
        );
      }
      expect(countWrites(world.emulator.writes())).to.deep.equal({});
      annotate(world, key, null);
      await assertNotPaused(world.kubernetes);
    });
  }
});

// F-213: a pause whose prefix was misspelt, or left out, did not pause.
describe('an annotation that looks like a pause', () => {
  for (const key of [
    'paused',
    'pause',
    'autometic-failover/paused',
    'autometric-failover.io/paused',
    'autometric_failover/paused',
  ]) {
    it(`refuses everything until it is gone: ${key}`, async () => {
      const world = createWorld();
      annotateWith(world, { [key]: 'INC-42' });
      for (const work of [assertNotPaused(world.kubernetes), charge(world, 'slice-a')]) {
        const { code, message } = await refusalOf(work);
        expect(code).to.equal('paused');
        expect(message).to.include(
          `unknown annotation ${key} on Lease cluster, did you mean autometric-failover/paused?`,
        );
        expect(message.endsWith(` ${key}-`), message).to.equal(true);
      }
      annotateWith(world, { [key]: null });
      await assertNotPaused(world.kubernetes);
    });
  }

  it('is none that the tools of others write', async () => {
    const world = createWorld();
    annotateWith(world, {
      'kubectl.kubernetes.io/last-applied-configuration': '{}',
      'meta.helm.sh/release-name': 'failover',
      'meta.helm.sh/release-namespace': 'autometric-failover-system',
      'argocd.argoproj.io/sync-wave': '1',
      'argocd.argoproj.io/tracking-id': 'failover:coordination.k8s.io/Lease:cluster',
      'kustomize.toolkit.fluxcd.io/prune': 'disabled',
      'configmanagement.gke.io/managed': 'enabled',
      'config.k8s.io/owning-inventory': 'x',
      'cluster.x-k8s.io/paused': 'false',
      'deployment.kubernetes.io/revision': '1',
      owner: 'ml-platform',
    });
    await assertNotPaused(world.kubernetes);
    await charge(world, 'slice-a');
  });
});

describe('chargeBudget', () => {
  it('counts a pool once', async () => {
    const world = createWorld();
    await charge(world, 'slice-a');
    await charge(world, 'slice-b');
    await charge(world, 'slice-a');
    expect(JSON.parse(clusterAnnotations(world)['autometric-failover/pools'] ?? '')).to.deep.equal({
      'slice-a': '2026-11-23T03:00:00.000Z',
      'slice-b': '2026-11-23T03:00:00.000Z',
    });
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'PUT leases': 2 });
  });

  it('starts the hour until the first sweep, because there is nothing to sweep yet, but does not put off a later sweep', async () => {
    const world = createWorld();
    const begun = at(world, 0);
    await charge(world, 'slice-a');
    expect(clusterAnnotations(world)['autometric-failover/swept']).to.equal(begun);
    world.clock.advance(600_000);
    await charge(world, 'slice-b');
    expect(clusterAnnotations(world)['autometric-failover/swept']).to.equal(begun);
  });

  // F-28: every pool turns bad at once because the metric broke: the budget holds.
  it('refuses one pool too many, and says which pools were counted, when the next one may be, and what lifts the limit', async () => {
    const world = createWorld();
    await charge(world, 'slice-a');
    world.clock.advance(600_000);
    await charge(world, 'slice-b');
    const refusal = await refusalOf(charge(world, 'slice-c'));
    expect(refusal).to.include({ code: 'budget_exceeded', status: 429 });
    expect(refusal.headers).to.deep.equal({ 'Retry-After': '3000' });
    expect(refusal.message).to.equal(
      'action is currently rate limited: 2 node pools were acted on within the hour (slice-a, slice-b), which is ' +
        'MAX_POOLS_PER_HOUR, so nothing is done to slice-c, and a JobSet that restarts may land on it; is it the metric that is broken? To lift cooldown, budget and attempts for 30 minutes: ' +
        'kubectl annotate lease cluster -n autometric-failover-system --overwrite ' +
        'autometric-failover/override-until=2026-11-23T03:40:00Z',
    );
    expect(clusterAnnotations(world)['autometric-failover/pools']).not.to.include('slice-c');
  });

  it('allows the next pool one hour after the first, not a second sooner', async () => {
    const world = createWorld();
    await charge(world, 'slice-a');
    await charge(world, 'slice-b');
    world.clock.advance(3_599_000);
    const refusal = await refusalOf(charge(world, 'slice-c'));
    expect(refusal.headers).to.deep.equal({ 'Retry-After': '1' });
    world.clock.advance(1_000);
    await charge(world, 'slice-c');
  });

  it('names the pools in the order of the alphabet', async () => {
    const world = createWorld();
    await charge(world, 'slice-b');
    await charge(world, 'slice-a');
    expect((await refusalOf(charge(world, 'slice-c'))).message).to.include('(slice-a, slice-b)');
  });

  it('holds when several instances charge at once', async () => {
    const world = createWorld();
    const pools = ['slice-a', 'slice-b', 'slice-c', 'slice-d', 'slice-e'];
    const outcomes = await Promise.allSettled(pools.map((pool) => charge(world, pool)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(2);
    const charged = JSON.parse(clusterAnnotations(world)['autometric-failover/pools'] ?? '') as object;
    expect(Object.keys(charged)).to.have.length(2);
  });

  it('is lifted by an override, except for an alert', async () => {
    const world = createWorld();
    await charge(world, 'slice-a');
    await charge(world, 'slice-b');
    annotate(world, 'override-until', at(world, 60));
    expect((await refusalOf(charge(world, 'slice-c', { isAlert: true }))).code).to.equal('budget_exceeded');
    await charge(world, 'slice-c');
  });

  it('sees a pause that came after the switches were read', async () => {
    const world = createWorld();
    const known = await readSwitches(world.kubernetes);
    annotate(world, 'paused', 'stop');
    const work = chargeBudget(world.kubernetes, 'slice-a', { isAlert: false, known, maxPools: two });
    expect((await refusalOf(work)).code).to.equal('paused');
    expect(clusterAnnotations(world)).to.deep.equal({ 'autometric-failover/paused': 'stop' });
  });

  it('refuses when the budget cannot be read, and says how to reset it', async () => {
    for (const value of ['{"slice-a":', '{"slice-a":"yesterday"}', 'null', '"x"']) {
      const world = createWorld();
      annotate(world, 'pools', value);
      const refusal = await refusalOf(charge(world, 'slice-b'));
      expect(refusal.code).to.equal('budget_exceeded');
      expect(refusal.message).to.match(/is broken; to reset it: kubectl annotate lease cluster .*pools-$/);
    }
  });

  it('keeps what a person sets while the budget is charged', async () => {
    const world = createWorld();
    let isFirst = true;
    const kubernetes = world.connect({
      onRequest({ method }) {
        if (method === 'PUT' && isFirst) annotate(world, 'override-until', 'by a person');
        if (method === 'PUT') isFirst = false;
      },
    });
    const known = await readSwitches(kubernetes);
    await chargeBudget(kubernetes, 'slice-a', { isAlert: false, known, maxPools: two });
    expect(clusterAnnotations(world)).to.include({ 'autometric-failover/override-until': 'by a person' });
    expect(clusterAnnotations(world)).to.have.property('autometric-failover/pools');
  });

  it('counts a pool of any name', async () => {
    const world = createWorld();
    await charge(world, 'constructor');
    expect(clusterAnnotations(world)['autometric-failover/pools']).to.include('constructor');
  });
});

describe('assertBudgetLeft', () => {
  it('refuses what charging would refuse, and writes nothing', async () => {
    const world = createWorld();
    await charge(world, 'slice-a');
    await charge(world, 'slice-b');
    const switches = await readSwitches(world.kubernetes);
    expect(() => assertBudgetLeft(switches, 'slice-a', { isAlert: false, maxPools: two })).not.to.throw();
    expect(() => assertBudgetLeft(switches, 'slice-c', { isAlert: false, maxPools: two })).to.throw(
      FailoverError,
      /slice-a, slice-b/,
    );
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'PUT leases': 2 });
  });
});

describe('isBudgetBroken', () => {
  it('says what chargeBudget refuses because it cannot be read', () => {
    const of = (value: string) => isBudgetBroken({ 'autometric-failover/pools': value });
    expect(of('{"slice-a":"2026-11-23T03:00:00Z"}')).to.equal(false);
    for (const value of ['{"slice-a":', '{"slice-a":"yesterday"}', 'null']) {
      expect(of(value), value).to.equal(true);
    }
    expect(isBudgetBroken({})).to.equal(false);
  });
});

describe('describeOverride', () => {
  it('is a command to paste that sets the override', async () => {
    const world = createWorld();
    const line = describeOverride(await readSwitches(world.kubernetes), { isAlert: false });
    const [, key = '', value = ''] = /--overwrite autometric-failover\/([^=]+)=(\S+)$/.exec(line) ?? [];
    annotate(world, key, value);
    const { overrideUntil } = await readSwitches(world.kubernetes);
    expect(overrideUntil).to.equal(world.clock.now() + 30 * 60_000);
  });

  // F-143: an override that did not count was ignored without a word.
  for (const [what, value] of [
    ['two hours ahead', (now: number) => new Date(now + 7_200_000).toISOString()],
    ['past', (now: number) => new Date(now - 1).toISOString()],
    ['empty, as the date command of another system leaves it', () => ''],
    ['no time', () => 'true'],
  ] as const) {
    it(`says that an override is ignored that is ${what}`, async () => {
      const world = createWorld();
      annotate(world, 'override-until', value(world.clock.now()));
      const switches = await readSwitches(world.kubernetes);
      expect(switches.overrideUntil).to.equal(undefined);
      expect(describeOverride(switches, { isAlert: false })).to.include(
        `Its present value (${value(world.clock.now())}) is ignored because it is not a time within the next hour`,
      );
    });
  }

  it('says nothing of an override that counts, and nothing at all to an alert', async () => {
    const world = createWorld();
    annotate(world, 'override-until', new Date(world.clock.now() + 60_000).toISOString());
    const switches = await readSwitches(world.kubernetes);
    expect(describeOverride(switches, { isAlert: false })).not.to.include('ignored');
    // F-144: a refused alert was shown the override, which never counts for alerts.
    expect(describeOverride(switches, { isAlert: true })).to.equal('');
  });
});

// F-148: a budget of two pools was right for a small cluster and far too small for a large one.
describe('readMaxPools', () => {
  for (const [percent, count] of [
    [1, 1],
    [50, 1],
    [51, 2],
    [100, 2],
  ] as const) {
    it(`takes ${percent}% of two accelerator pools for ${count}`, async () => {
      const world = createInMemoryWorld();
      const maxPools = await readMaxPools(world.kubernetes, { maxPoolsPerHour: { percent } });
      expect(maxPools).to.deep.equal({ count, why: ` (${percent}% of 2 accelerator pools)` });
    });
  }

  it('asks nothing for a number', async () => {
    const world = createInMemoryWorld();
    const before = world.emulator.requests.length;
    expect(await readMaxPools(world.kubernetes, { maxPoolsPerHour: 7 })).to.deep.equal({ count: 7, why: '' });
    expect(world.emulator.requests).to.have.length(before);
  });
});

describe('noteRefusedPool', () => {
  it('remembers the pools that the budget refused within the hour, and writes each once', async () => {
    const world = createWorld();
    await noteRefusedPool(world.kubernetes, 'slice-c');
    world.clock.advance(1_800_000);
    await noteRefusedPool(world.kubernetes, 'slice-d');
    await noteRefusedPool(world.kubernetes, 'slice-c');
    const pools = () => Object.keys(readRefusedPools(clusterAnnotations(world), world.clock.now()));
    expect(pools()).to.deep.equal(['slice-c', 'slice-d']);
    expect(countWrites(world.emulator.writes())).to.deep.equal({ 'PUT leases': 2 });
    world.clock.advance(1_800_000);
    expect(pools()).to.deep.equal(['slice-d']);
    await assertNotPaused(world.kubernetes);
  });

  it('keeps a bounded number of them, the newest', async () => {
    const world = createWorld();
    const pools = Array.from({ length: 150 }, (_, index) => `slice-${index}`);
    annotate(
      world,
      'refused-pools',
      JSON.stringify(Object.fromEntries(pools.map((pool) => [pool, at(world, 0)]))),
    );
    await noteRefusedPool(world.kubernetes, 'slice-new');
    const kept = Object.keys(readRefusedPools(clusterAnnotations(world), world.clock.now()));
    expect(kept).to.deep.equal([...pools.slice(-100), 'slice-new']);
  });
});
