import { expect } from 'chai';
import { describeHistory } from '../../src/decide/host-history.ts';
import type { HostRepair } from '../../src/state/host-memory.ts';
import { healthOf } from '../fixtures/node-health.ts';

const tpu = healthOf('gke-0', { labels: { 'cloud.google.com/gke-tpu-accelerator': 'tpu-v5' } });

function tell(
  count: number,
  { node = healthOf('gke-0'), way }: { node?: typeof tpu; way?: 'report_faulty_host' } = {},
) {
  const repairs = Array.from({ length: count }, (_one, index) => ({
    way: 'delete',
    action: `a${index}`,
    at: `day ${index}`,
  })) as unknown as HostRepair[];
  return describeHistory({ host: 'h', ...(way && { way }) }, node, new Map([['h', repairs]]));
}

describe('describeHistory', () => {
  it('says which fault of the host this is, and lists the last three repairs', () => {
    expect(tell(1)).to.match(
      /^this is fault 2 of host h, .* repaired once within 30 days \(delete by action a0 at day 0\): /,
    );
    expect(tell(3)).to.match(
      /fault 4 .* 3 times .* \(delete by action a0 at .*; .* a1 at .*; .* a2 at day 2\)/,
    );
    expect(tell(5)).to.match(
      /fault 6 .* 5 times .* \(2 before; delete by action a2 at .*; .* a3 .*; .* a4 at day 4\)/,
    );
  });

  it('advises to report the host where GKE takes reports, and not where that is being done', () => {
    expect(tell(1)).to.match(/draw the host again, so have it reported: repair report_faulty_host$/);
    expect(tell(1, { node: tpu })).to.match(
      /draw the host again, and GKE reports .*, so tell Google about the host$/,
    );
    expect(tell(1, { way: 'report_faulty_host' })).to.match(/day 0\)$/);
  });

  it('says nothing of a host that was not repaired, is not known, or is not asked for', () => {
    expect(tell(0)).to.equal(undefined);
    expect(describeHistory({ host: 'h' }, tpu, new Map())).to.equal(undefined);
    expect(describeHistory({}, tpu, 'unread')).to.equal(undefined);
    expect(describeHistory({ host: 'h' }, tpu, undefined)).to.equal(undefined);
  });

  it('says that the memory cannot be read', () => {
    expect(describeHistory({ host: 'h' }, tpu, 'unread')).to.match(
      /^whether host h was repaired before is not known/,
    );
  });
});
