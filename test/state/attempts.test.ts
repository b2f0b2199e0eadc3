import { expect } from 'chai';
import { readConfig } from '../../src/config.ts';
import { failoverNamespace } from '../../src/names.ts';
import { assertAttemptsLeft, countAttempts, withAttempts, withAttemptsOf } from '../../src/state/attempts.ts';
import { toRepairs, withMark } from '../../src/state/cooldown.ts';
import { createLease, readLease } from '../../src/state/lease.ts';
import { toRecordName } from '../../src/state/record-format.ts';
import {
  acceptRestartMark,
  restoreRestartMark,
  toMarkName,
  toRestarts,
  writeRestartMark,
} from '../../src/state/restart-mark.ts';
import type { RestartMark } from '../../src/state/restart-mark.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const config = readConfig({ CLUSTERS: 'projects/ml-prod/locations/us-central1/clusters/train' });
const key = 'autometric-failover/attempts';
const start = Date.parse('2026-11-23T03:00:00Z');
const dayMs = 24 * 3_600_000;
const at = (ms: number) => new Date(start + ms).toISOString();
const train = { namespace: 'default', name: 'train' };

function listOf(annotations: Record<string, string> | undefined): string[] {
  return (JSON.parse(annotations?.[key] ?? '[]') as { action: string }[]).map(({ action }) => action);
}

function restartMark(action: string, ms: number, state: 'begun' | 'accepted'): RestartMark {
  return { action, at: at(ms), jobSetUid: 'u', attempt: 1, jobUid: 'j', state };
}

describe('withAttempts', () => {
  it('lists accepted marks, each action once, as of its first time', () => {
    const once = withAttempts({ note: 'x' }, { action: 'a', at: at(0), state: 'accepted' });
    const twice = withAttempts(once, { action: 'a', at: at(5), state: 'accepted' });
    expect(twice).to.equal(once);
    expect(JSON.parse(once[key] ?? '')).to.deep.equal([{ action: 'a', at: at(0) }]);
    expect(once['note']).to.equal('x');
    expect(listOf(withAttempts(once, { action: 'b', at: at(6) }, undefined))).to.deep.equal(['a', 'b']);
  });

  it('lists nothing that is only begun', () => {
    const annotations = { note: 'x' };
    expect(withAttempts(annotations, { action: 'a', at: at(0), state: 'begun' })).to.equal(annotations);
  });

  it('forgets what is a day older than the newest', () => {
    let annotations: Record<string, string> = {};
    for (const ms of [0, 1, dayMs]) annotations = withAttempts(annotations, { action: `a${ms}`, at: at(ms) });
    expect(listOf(annotations)).to.deep.equal(['a1', `a${dayMs}`]);
  });

  it('keeps the last hundred', () => {
    let annotations: Record<string, string> = {};
    for (let n = 0; n < 103; n++) annotations = withAttempts(annotations, { action: `a${n}`, at: at(n) });
    expect(listOf(annotations)).to.have.length(100).and.include('a3').and.not.include('a2');
  });
});

describe('withAttemptsOf', () => {
  it('takes the list of the other annotations, and keeps its own where they have none', () => {
    const mine = withAttempts({ note: 'x' }, { action: 'a', at: at(0) });
    const others = withAttempts({}, { action: 'b', at: at(0) });
    expect(listOf(withAttemptsOf(mine, others))).to.deep.equal(['b']);
    expect(withAttemptsOf(mine, others)['note']).to.equal('x');
    expect(withAttemptsOf(mine, { note: 'y' })).to.deep.equal(mine);
  });
});

describe('countAttempts', () => {
  const three = { maxAttemptsPerDay: 3 };
  const listed = (...entries: { action: string; at: string; jobSetUid?: string }[]) =>
    toRepairs('slice-a', { [key]: JSON.stringify(entries) });

  it('counts what is left, and says when one more is possible only where nothing is', () => {
    const one = listed({ action: 'a', at: at(0) });
    expect(countAttempts(one, three, start)).to.deep.equal({
      max: 3,
      used: 1,
      left: 2,
      againAt: undefined,
      isBroken: false,
    });
    const used = { max: 1, used: 1, left: 0, isBroken: false };
    expect(countAttempts(one, { maxAttemptsPerDay: 1 }, start)).to.deep.equal({
      ...used,
      againAt: start + dayMs,
    });
  });

  it('counts an attempt for less than a day', () => {
    const one = listed({ action: 'a', at: at(0) });
    expect(countAttempts(one, three, start + dayMs - 1).used).to.equal(1);
    expect(countAttempts(one, three, start + dayMs).used).to.equal(0);
  });

  it('looks at the times and not at the places in the list', () => {
    const two = listed({ action: 'late', at: at(5000) }, { action: 'early', at: at(0) });
    expect(countAttempts(two, { maxAttemptsPerDay: 1 }, start + 5000).againAt).to.equal(start + 5000 + dayMs);
    expect(countAttempts(two, { maxAttemptsPerDay: 2 }, start + 5000).againAt).to.equal(start + dayMs);
  });

  it('counts the last repair of a version that wrote no list', () => {
    const { [key]: _, ...old } = withMark({}, 'repair', { action: 'a', at: at(0) });
    expect(countAttempts(toRepairs('slice-a', old), three, start)).to.include({ used: 1, left: 2 });
  });

  it('counts every repair of a pool, whichever run was on it', () => {
    const two = listed({ action: 'a', at: at(0), jobSetUid: 'u' }, { action: 'b', at: at(0) });
    expect(countAttempts(two, three, start).used).to.equal(2);
  });

  it('has none left where the list cannot be read', () => {
    const broken = countAttempts(toRepairs('slice-a', { [key]: '[' }), three, start);
    expect(broken).to.include({ left: 0, againAt: undefined, isBroken: true });
  });
});

describe('assertAttemptsLeft', () => {
  const asking = { config, id: 'next', isAlert: false };

  /** A pool that each of these actions has repaired, a second apart. */
  function repaired(...actions: string[]): Record<string, string> {
    let annotations: Record<string, string> = {};
    for (const [index, action] of actions.entries()) {
      const mark = { action, at: at(index * 1000), state: 'accepted' as const };
      annotations = withMark(annotations, 'repair', mark);
    }
    return annotations;
  }

  async function writeVerdict({ kubernetes }: InMemoryWorld, id: string, verdict: string): Promise<void> {
    const annotations = { 'autometric-failover/verdict': verdict };
    await createLease(kubernetes, { name: toRecordName(id), annotations });
  }

  const ask = (
    { kubernetes }: InMemoryWorld,
    annotations: Record<string, string>,
    changes: Partial<Parameters<typeof assertAttemptsLeft>[2]> = {},
  ) => assertAttemptsLeft(kubernetes, toRepairs('slice-a', annotations), { ...asking, ...changes });

  it('lets the third one go without a request', async () => {
    const world = createInMemoryWorld();
    const asked = world.emulator.requests.length;
    await ask(world, repaired('a', 'b'));
    expect(world.emulator.requests.length).to.equal(asked);
  });

  it('lets those be finished that are counted already', async () => {
    const world = createInMemoryWorld();
    for (const id of ['a', 'b', 'c']) await ask(world, repaired('a', 'b', 'c'), { id });
    expect((await refusalOf(ask(world, repaired('a', 'b', 'c')))).code).to.equal('attempts_exhausted');
  });

  it('lets an action be finished that has begun, and counts no other that has', async () => {
    const world = createInMemoryWorld();
    const begun = withMark(repaired('a', 'b', 'c'), 'repair', {
      action: 'd',
      at: at(9000),
      state: 'begun',
    });
    await ask(world, begun, { id: 'd' });
    const { message } = await refusalOf(ask(world, begun));
    expect(message).to.include('repaired 3 times').and.not.include('action d');
  });

  it('says what became of each, as far as it is known', async () => {
    const world = createInMemoryWorld();
    await writeVerdict(world, 'b', '{"verdict":"not_repaired","at":"now"}');
    await createLease(world.kubernetes, { name: toRecordName('c'), annotations: {} });
    expect((await refusalOf(ask(world, repaired('a', 'b', 'c')))).message).to.include(
      `(action a at ${at(0)}: not known; action b at ${at(1000)}: not_repaired; action c at ${at(2000)}: no verdict yet). ` +
        `Again possible at ${at(dayMs)}.`,
    );
  });

  for (const broken of ['no JSON', '{}', '{"verdict":5}', '{"verdict":"a\\nb"}', 'null']) {
    it(`does not know the verdict ${broken}`, async () => {
      const world = createInMemoryWorld();
      await writeVerdict(world, 'a', broken);
      const { message } = await refusalOf(ask(world, repaired('a', 'b', 'c')));
      expect(message).to.include(`action a at ${at(0)}: not known;`);
    });
  }

  it('passes on what is no failure of a call', async () => {
    const world = createInMemoryWorld();
    const thrown = new TypeError('a fault of ours');
    const within = () => {
      throw thrown;
    };
    const work = ask({ ...world, kubernetes: { ...world.kubernetes, within } }, repaired('a', 'b', 'c'));
    expect(await work.catch((error: unknown) => error)).to.equal(thrown);
  });

  it('does not know a verdict that cannot be read now', async () => {
    const world = createInMemoryWorld();
    world.emulator.faults.add({ method: 'GET', path: /action-/, times: Infinity, effect: { status: 403 } });
    expect((await refusalOf(ask(world, repaired('a', 'b', 'c')))).message)
      .to.include('action c at ')
      .and.match(/action a at \S+: not known; action b at \S+: not known; action c at \S+: not known\)/);
  });

  it('lists the last ten, and how many were before', async () => {
    const world = createInMemoryWorld();
    const actions = Array.from({ length: 12 }, (_, index) => `a${index}`);
    const { message } = await refusalOf(ask(world, repaired(...actions)));
    expect(message).to.include('(2 before; action a2 at ').and.include('repaired 12 times');
  });

  it('counts for exactly a day', async () => {
    const world = createInMemoryWorld();
    world.clock.ms = start + dayMs - 1;
    // The API server tells its time in whole seconds.
    world.clock.ms -= 1000;
    await readLease(world.kubernetes, 'any');
    expect((await refusalOf(ask(world, repaired('a', 'b', 'c')))).code).to.equal('attempts_exhausted');
    world.clock.ms = start + dayMs + 1000;
    await readLease(world.kubernetes, 'any');
    await ask(world, repaired('a', 'b', 'c'));
  });

  it('cannot read what a newer version wrote', async () => {
    const world = createInMemoryWorld();
    const newer = { ...repaired('a'), 'autometric-failover/version': '99' };
    expect((await refusalOf(ask(world, newer))).message).to.include(
      `annotation ${key} of Lease pool-slice-a`,
    );
  });

  it('reads the override only where it is needed, and not for an alert', async () => {
    const world = createInMemoryWorld();
    const until = new Date(start + 600_000).toISOString();
    world.cluster.change('leases', failoverNamespace, 'cluster', ({ metadata }) => {
      metadata.annotations = { 'autometric-failover/override-until': until };
    });
    await ask(world, repaired('a', 'b', 'c'));
    await ask(world, { [key]: 'broken' });
    for (const list of [repaired('a', 'b', 'c'), { [key]: 'broken' }]) {
      const refused = await refusalOf(ask(world, list, { isAlert: true }));
      expect(refused).to.include({ code: 'attempts_exhausted', status: 409 });
      expect(refused.message).not.to.include('To lift');
    }
  });
});

describe('the restarts of a JobSet', () => {
  const readJobSetLease = ({ kubernetes }: InMemoryWorld) =>
    readLease(kubernetes, toMarkName('default', 'train'));

  it('keep what was listed while a mark is taken back', async () => {
    const world = createInMemoryWorld();
    const { kubernetes } = world;
    const first = restartMark('a', 0, 'begun');
    const before = await writeRestartMark(kubernetes, train, first, undefined);
    await writeRestartMark(kubernetes, train, restartMark('b', 1, 'begun'), before);
    // The answer to the deletion of the first comes late.
    await acceptRestartMark(kubernetes, train, 'a', { known: undefined, sent: first });
    const written = await readJobSetLease(world);
    expect(listOf(written?.annotations)).to.deep.equal(['a']);
    if (!written) throw new Error('there is no Lease');
    await restoreRestartMark(kubernetes, written, before);
    const restored = await readJobSetLease(world);
    expect(restored?.annotations['autometric-failover/restart']).to.include('"action":"a"');
    expect(listOf(restored?.annotations)).to.deep.equal(['a']);
  });

  it('list a mark of a version without a list when it is overwritten', async () => {
    const world = createInMemoryWorld();
    const { kubernetes } = world;
    const old = await writeRestartMark(kubernetes, train, restartMark('a', 0, 'accepted'), undefined);
    const { [key]: _, ...without } = old?.annotations ?? {};
    const lease = old && { ...old, annotations: without };
    expect(toRestarts({ ...train, uid: 'u' }, lease).mark?.action).to.equal('a');
    const written = await writeRestartMark(kubernetes, train, restartMark('b', 1, 'begun'), lease);
    expect(listOf(written?.annotations)).to.deep.equal(['a']);
  });

  it('write nothing where somebody has deleted the Lease', async () => {
    const world = createInMemoryWorld();
    const sent = restartMark('a', 0, 'begun');
    await acceptRestartMark(world.kubernetes, train, 'a', { known: undefined, sent });
    expect(await readJobSetLease(world)).to.equal(undefined);
  });

  it('count no other run', async () => {
    const { kubernetes } = createInMemoryWorld();
    let lease = await writeRestartMark(kubernetes, train, restartMark('a', 0, 'accepted'), undefined);
    for (const id of ['b', 'c']) {
      lease = await writeRestartMark(kubernetes, train, restartMark(id, 1, 'accepted'), lease);
    }
    const ask = (uid: string) =>
      assertAttemptsLeft(kubernetes, toRestarts({ ...train, uid }, lease), {
        config,
        id: 'd',
        isAlert: false,
      });
    await ask('another');
    expect((await refusalOf(ask('u'))).message).to.match(
      /^JobSet default\/train was restarted 3 times within 24 h/,
    );
  });
});
