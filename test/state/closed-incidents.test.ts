import { expect } from 'chai';
import { failoverNamespace } from '../../src/names.ts';
import { hasClosed, rememberClosed, toClosedName } from '../../src/state/closed-incidents.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';

describe('rememberClosed', () => {
  it('remembers an incident, and tells its id to a person who looks', async () => {
    const { kubernetes, cluster } = createInMemoryWorld({ slices: [], jobSet: null });
    await rememberClosed(kubernetes, '0.abc');
    await rememberClosed(kubernetes, '0.abc');
    expect(await hasClosed(kubernetes, '0.abc')).to.equal(true);
    expect(await hasClosed(kubernetes, '0.abd')).to.equal(false);
    const lease = cluster.get('leases', failoverNamespace, toClosedName('0.abc'));
    expect(lease?.metadata.labels).to.deep.equal({ 'autometric-failover/kind': 'incident' });
    expect(lease?.metadata.annotations).to.include({ 'autometric-failover/incident': '0.abc' });
  });
});
