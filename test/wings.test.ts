import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const source = join(import.meta.dirname, '../src');

/** Which file sends which write. What a file may import, the linter holds (.oxlintrc.json). */
const writers: Record<string, string[]> = {
  'effects/acceptance-job.ts': ['createNamespacedJob'],
  'effects/cordon.ts': ['patchNode'],
  'effects/dead-nodes.ts': ['deleteNamespacedPod'],
  'effects/end-attempt.ts': ['deleteNamespacedJob', 'deleteNamespacedPod', 'patchNamespacedJob'],
  'effects/delete-machine.ts': ['deleteInstance'],
  'effects/label-node.ts': ['patchNode'],
  'failover/events.ts': ['createNamespacedEvent'],
  'state/lease.ts': ['createNamespacedLease', 'deleteNamespacedLease', 'replaceNamespacedLease'],
};

describe('the wings of the source', () => {
  it('send each kind of write only from the files that may send it', () => {
    const found: Record<string, string[]> = {};
    for (const name of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const text = readFileSync(join(source, name), 'utf8');
      const calls = text.matchAll(
        /(?:\.|\bawait |\breturn )((?:create|replace|patch|delete)(?:Namespaced\w+|Node|Instance|Collection\w+))\(/g,
      );
      const names = [...new Set([...calls].map(([, call]) => call ?? ''))].toSorted();
      if (names.length > 0) found[name] = names;
    }
    // The client that bypasses the generated one implements patchNode itself.
    delete found['gke/direct-core.ts'];
    expect(found).to.deep.equal(writers);
  });
});
