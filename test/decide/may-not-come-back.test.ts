import { expect } from 'chai';
import { findLastingDoubt } from '../../src/decide/may-not-come-back.ts';
import type { GkePool } from '../../src/gke/gke-work-answer.ts';
import { healthOf } from '../fixtures/node-health.ts';

function doubt(labels: Record<string, string>, pool?: Partial<GkePool>) {
  const bought = { isSpot: false, isFlexStart: false, isQueued: false };
  const whole = { status: 'RUNNING', conditions: [], upgradePhase: undefined, ...bought, ...pool };
  return findLastingDoubt(healthOf('gke-0', { labels }), pool && whole);
}

describe('findLastingDoubt', () => {
  it('has none about a machine that was bought for good, in a pool that GKE says nothing of', () => {
    expect(doubt({})).to.equal(undefined);
    expect(doubt({}, {})).to.equal(undefined);
    expect(doubt({}, { conditions: ['CLOUD_KMS_KEY_ERROR'] })).to.equal(undefined);
  });

  const rows: [string, Record<string, string>, Partial<GkePool>, RegExp][] = [
    [
      'Spot VMs',
      { 'cloud.google.com/gke-spot': 'true' },
      { isSpot: true },
      /^its machines are Spot VMs, [^;]*$/,
    ],
    [
      'flex-start',
      { 'cloud.google.com/gke-flex-start': 'true' },
      { isFlexStart: true },
      /^[^;]*\(flex-start\)[^;]*$/,
    ],
    [
      'queued',
      { 'cloud.google.com/gke-queued': 'true' },
      { isQueued: true },
      /^[^;]*\(queued provisioning\)[^;]*$/,
    ],
  ];
  for (const [what, labels, pool, expected] of rows) {
    it(`tells ${what} by the labels of the node or by the pool`, () => {
      expect(doubt(labels)).to.match(expected);
      expect(doubt({}, pool)).to.match(expected);
      expect(doubt(labels, {})).to.match(expected);
    });
  }

  it('tells what GKE says of the pool, and each reason that there is', () => {
    expect(doubt({}, { conditions: ['GCE_STOCKOUT'] })).to.equal(
      'Compute had no capacity for the pool (GCE_STOCKOUT)',
    );
    expect(
      doubt({}, { conditions: ['X', 'GCE_QUOTA_EXCEEDED', 'RESOURCE_EXHAUSTED'], status: 'ERROR' }),
    ).to.match(
      /^the quota .*\(GCE_QUOTA_EXCEEDED\); Compute lacks .*\(RESOURCE_EXHAUSTED\); GKE says .*\(its status is ERROR\)$/,
    );
  });
});
