import { expect } from 'chai';
import { updateAnnotations } from '../../src/state/lease.ts';
import { assertNotPaused, describeOverride, isPaused, refusePaused } from '../../src/state/switches.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { refusal, refusalOf } from '../fixtures/refusal-of.ts';

const prefix = 'autometric-failover/';

async function createWorld(annotations: Record<string, string>) {
  const world = createInMemoryWorld({ slices: [], jobSet: null });
  await updateAnnotations(world.kubernetes, 'cluster', () => annotations);
  return world;
}

describe('the pause', () => {
  for (const [what, annotations] of [
    ['without a reason', { [`${prefix}paused-by`]: 'alice' }],
    ['with an empty reason', { [`${prefix}paused`]: '' }],
    ['that is misspelt', { [`${prefix}pausd`]: 'INC-42' }],
  ] as const) {
    it(`holds ${what}`, async () => {
      const { kubernetes } = await createWorld(annotations);
      expect(await isPaused(kubernetes)).to.equal(true);
      expect((await refusalOf(assertNotPaused(kubernetes))).code).to.equal('paused');
    });
  }

  it('does not hold without an annotation that is meant for it', async () => {
    const { kubernetes } = await createWorld({ [`${prefix}swept`]: 'x', 'other/note': 'x' });
    expect(await isPaused(kubernetes)).to.equal(false);
    await assertNotPaused(kubernetes);
  });

  it('says who has set it, and takes all of it away to resume', () => {
    const paused = { pausedFor: 'INC-42', pausedBy: 'alice', unknownKey: undefined };
    const base = 'kubectl annotate lease cluster -n autometric-failover-system';
    expect(refusal(() => refusePaused(paused)).message).to.equal(
      `failover is paused for this cluster: INC-42 (by alice); to resume: ${base} ${prefix}paused- ${prefix}paused-by-`,
    );
    const { message } = refusal(() => refusePaused({ ...paused, pausedFor: '', pausedBy: undefined }));
    expect(message).to.equal(
      `failover is paused for this cluster: no reason given; to resume: ${base} ${prefix}paused-`,
    );
  });
});

describe('describeOverride', () => {
  it('shows the beginning of a value that lifts nothing', () => {
    const switches = { serverNow: Date.parse('2026-11-28T03:00:00Z'), ignoredOverride: 'x'.repeat(65) };
    expect(describeOverride(switches, { isAlert: false })).to.match(
      /override-until=2026-11-28T03:30:00Z\. Its present value \(x{64}\) is ignored because/,
    );
    expect(describeOverride(switches, { isAlert: true })).to.equal('');
  });
});
