import { expect } from 'chai';
import { Deadline } from '../../src/clock.ts';
import { cordonPool } from '../../src/effects/cordon.ts';
import { createKubernetes } from '../../src/gke/kubernetes.ts';
import type { Transport } from '../../src/gke/transport.ts';
import { addSystemNamespace } from '../emulator/scenario.ts';
import { Emulator } from '../emulator/emulator.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';

const latencyMs = 20;
const retryAfterMs = 2000;
/** What is added to each wait at most. */
const jitterMs = 200;
const concurrency = 16;

describe('cordonPool, throttled by the API server', () => {
  // F-49: patch 137 of 256 fails: retried, then the action stops, says so, and can be resumed.
  it('cordons all nodes, and takes longer only by what the server asked to wait', async () => {
    const plain = await cordon(0);
    const throttled = await cordon(0.5);
    expect(throttled.schedulable).to.equal(0);
    expect(throttled.mostRefusals).to.be.greaterThan(1);
    // The node that was turned away most often waited longest; the others waited meanwhile.
    const asked = throttled.mostRefusals * (retryAfterMs + jitterMs + latencyMs);
    expect(throttled.tookMs - plain.tookMs).to.be.at.most(asked);
  });

  it('never has more patches under way than it may', async () => {
    expect((await cordon(0)).mostInFlight).to.equal(concurrency);
    expect((await cordon(0.5)).mostInFlight).to.equal(concurrency);
  });
});

/** Cordons 256 nodes in virtual time; such a share of the patches is turned away. */
async function cordon(share: number) {
  const time = new VirtualTime(Date.parse('2026-11-23T03:00:00Z'));
  const emulator = new Emulator({ now: () => time.now });
  const cluster = emulator.addCluster({ name: 'projects/ml-prod/locations/us-central1/clusters/train' });
  addSystemNamespace(cluster);
  cluster.addTpuSlice('slice-a', { nodes: 256, topology: '16x8x8' });
  const headers = { 'retry-after': String(retryAfterMs / 1000) };
  emulator.faults.add({
    method: 'PATCH',
    probability: share,
    times: Infinity,
    effect: { status: 429, headers },
  });

  let inFlight = 0;
  let mostInFlight = 0;
  const after = (ms: number) => new Promise<void>((resolve) => time.after(ms, resolve));
  const transport: Transport = async ({ method, url, headers, body = '' }) => {
    mostInFlight = Math.max(mostInFlight, ++inFlight);
    await after(latencyMs);
    inFlight--;
    const lowerCase = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const { pathname, search } = new URL(url);
    return cluster.handle({ method, path: pathname + search, headers: lowerCase, body });
  };
  const clock = { now: () => time.now, sleep: after };
  const kubernetes = createKubernetes({
    server: 'https://emulated',
    token: emulator.tokens.tokenFor(emulator.tokens.account.email),
    transport,
    limits: { clock, deadline: new Deadline(clock, 3_600_000) },
  });

  const startedAt = time.now;
  let isDone = false;
  const cordoning = cordonPool(kubernetes, { nodePool: 'slice-a' }, { actionId: 'a', concurrency }).finally(
    () => (isDone = true),
  );
  await time.run(() => isDone);
  await cordoning;

  const refusals = Map.groupBy(
    emulator.requests.filter(({ status }) => status === 429),
    ({ path }) => path,
  );
  return {
    tookMs: time.now - startedAt,
    mostInFlight,
    mostRefusals: Math.max(0, ...[...refusals.values()].map((each) => each.length)),
    schedulable: cluster.nodes('slice-a').filter(({ spec }) => !spec.unschedulable).length,
  };
}
