import { expect } from 'chai';
import { readSwitchesWithWriter } from '../../src/state/paused-by.ts';
import { UpstreamError } from '../../src/errors.ts';
import type { Kubernetes } from '../../src/gke/kubernetes.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';

const now = Date.parse('2026-11-28T03:00:00Z');
const at = (minute: number) => new Date(now + minute * 60_000);

const owns = (manager: string | undefined, minute: number, ...keys: string[]) => ({
  ...(manager !== undefined && { manager }),
  time: at(minute),
  fieldsV1: {
    'f:metadata': {
      'f:annotations': Object.fromEntries(keys.map((key) => [`f:autometric-failover/${key}`, {}])),
    },
  },
});

function read(managedFields: object[] | undefined, error?: Error) {
  const annotations = { 'autometric-failover/paused': 'why' };
  const metadata = { name: 'cluster', uid: 'u', resourceVersion: '1', annotations, managedFields };
  const readNamespacedLease = async () => {
    if (error) throw error;
    return { metadata, spec: {} };
  };
  return readSwitchesWithWriter({
    coordination: { readNamespacedLease },
    serverNow: () => now,
  } as unknown as Kubernetes);
}

describe('readSwitchesWithWriter', () => {
  it('tells which tool has set the pause, the latest of several', async () => {
    const { pauseWriter, pausedFor } = await read([
      owns('other', 9, 'swept'),
      owns('kubectl-edit', 1, 'paused'),
      owns('kubectl-annotate', 3, 'paused-by'),
      owns('older', 2, 'paused', 'paused-by'),
      { manager: 'no fields', time: at(10) },
      { manager: 'status', time: at(10), fieldsV1: { 'f:spec': {} } },
    ]);
    expect(pauseWriter).to.deep.equal({ tool: 'kubectl-annotate', at: at(3).getTime() });
    expect(pausedFor).to.equal('why');
    const both = await read([owns('old', 1, 'paused', 'paused-by'), owns('new', 2, 'paused', 'paused-by')]);
    expect(both.pauseWriter?.tool).to.equal('new');
  });

  it('tells none where nobody owns the annotation, and a tool without a name as unknown', async () => {
    expect((await read([owns('other', 9, 'swept')])).pauseWriter).to.equal(undefined);
    expect((await read(undefined)).pauseWriter).to.equal(undefined);
    expect((await read([owns(undefined, 1, 'paused')])).pauseWriter?.tool).to.equal('unknown');
  });

  it('is not paused where there is no Lease yet, and fails where it cannot be read', async () => {
    const failing = (status: number) => new UpstreamError({ api: 'Kubernetes API', call: 'GET', status });
    const none = await read([], failing(404));
    expect(none).to.deep.include({
      lease: undefined,
      pauseWriter: undefined,
      pausedFor: undefined,
      serverNow: now,
    });
    expect(await refusalOf(read([], failing(403)))).to.have.property('code', 'upstream_failed');
  });
});
