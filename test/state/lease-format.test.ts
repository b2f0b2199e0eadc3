import type { V1Lease } from '@kubernetes/client-node';
import { expect } from 'chai';
import { UpstreamError } from '../../src/errors.ts';
import { toLease, toReadLease, toWrittenLease } from '../../src/state/lease-format.ts';

const time = Date.parse('2026-11-23T03:00:00.123Z');
const sent = toLease({
  name: 'pool-x',
  holder: 'a/1',
  acquiredAt: time,
  renewedAt: time,
  durationSeconds: 60,
  labels: { kind: 'pool' },
  annotations: { mark: 'begun' },
});

type Metadata = NonNullable<V1Lease['metadata']>;
type Spec = NonNullable<V1Lease['spec']>;

/** The Lease with other fields. A field that is undefined is left out, as in an answer. */
function change(lease: V1Lease, metadata: Partial<Metadata>, spec: Partial<Spec> = {}): V1Lease {
  return {
    kind: 'Lease',
    metadata: Object.assign({}, lease.metadata, metadata),
    spec: Object.assign({}, lease.spec, spec),
  };
}

/** What the API server answers: what was sent, and what it and others add. */
const stored = change(sent, {
  uid: 'u',
  resourceVersion: '7',
  labels: { kind: 'pool', 'added-by': 'a webhook' },
  annotations: { ...sent.metadata?.annotations, added: 'by a webhook' },
});

describe('toReadLease', () => {
  it('reads the Lease that was asked for', () => {
    expect(toReadLease(stored, 'pool-x')).to.include({ uid: 'u', resourceVersion: '7', holder: 'a/1' });
  });

  // Without uid and resourceVersion, the next replace would overwrite what another writer has put there.
  for (const field of ['name', 'uid', 'resourceVersion']) {
    it(`refuses one without its ${field}`, () => {
      const read = change(stored, { [field]: undefined });
      expect(() => toReadLease(read, 'pool-x')).to.throw(UpstreamError, /another Lease .*leases\/pool-x\)/);
      expect(() => toReadLease(read)).to.throw(UpstreamError, /another Lease .*leases\)/);
    });
  }

  it('refuses another one, and takes any from a list', () => {
    expect(toReadLease(stored).name).to.equal('pool-x');
    expect(() => toReadLease(stored, 'pool-y')).to.throw(UpstreamError, /another Lease/);
  });
});

describe('toWrittenLease', () => {
  it('takes what was sent, with what others have added', () => {
    const lease = toWrittenLease(stored, sent, 'POST');
    expect(lease).to.deep.include({ holder: 'a/1', renewedAt: time, durationSeconds: 60 });
    expect(lease.annotations).to.deep.equal({ mark: 'begun', added: 'by a webhook' });
  });

  for (const field of ['holderIdentity', 'acquireTime', 'renewTime', 'leaseDurationSeconds']) {
    it(`refuses an answer that lacks ${field}, or has it although it was taken away`, () => {
      const less = change(stored, {}, { [field]: undefined });
      expect(() => toWrittenLease(less, sent, 'POST')).to.throw(
        UpstreamError,
        /than the one sent \(POST .*leases\)/,
      );
      const freed = change(sent, {}, { [field]: undefined });
      expect(() => toWrittenLease(stored, freed, 'PUT')).to.throw(
        UpstreamError,
        /than the one sent \(PUT .*leases\/pool-x\)/,
      );
    });
  }

  for (const field of ['name', 'uid', 'resourceVersion', 'labels', 'annotations']) {
    it(`refuses an answer without ${field}`, () => {
      const less = change(stored, { [field]: undefined });
      expect(() => toWrittenLease(less, sent, 'POST')).to.throw(UpstreamError);
    });
  }

  it('refuses another value, another Lease, and an older format', () => {
    const { annotations } = stored.metadata ?? {};
    for (const other of [
      { annotations: { ...annotations, mark: 'accepted' } },
      { annotations: { mark: 'begun' } },
      { labels: { kind: 'action' } },
    ]) {
      expect(() => toWrittenLease(change(stored, other), sent, 'POST')).to.throw(UpstreamError);
    }
    const known = change(sent, { uid: 'v', resourceVersion: '6' });
    expect(() => toWrittenLease(stored, known, 'PUT')).to.throw(UpstreamError);
    expect(toWrittenLease(change(stored, { uid: 'v' }), known, 'PUT').resourceVersion).to.equal('7');
  });

  it('says that the write may have worked', () => {
    const spec = { holderIdentity: 'b/2' };
    expect(() => toWrittenLease(change(stored, {}, spec), sent, 'PUT'))
      .to.throw(UpstreamError)
      .which.includes({ code: 'upstream_failed', mayHaveWorked: true, isRetryable: true });
  });
});
