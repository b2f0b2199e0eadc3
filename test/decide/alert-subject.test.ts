import { expect } from 'chai';
import { findNodeOfInstance, resolveJobSet, resolveNode } from '../../src/decide/alert-subject.ts';
import { readConfig } from '../../src/config.ts';
import { Ignored } from '../../src/ignored.ts';
import type { Action } from '../../src/request/action.ts';
import { createInMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import type { InMemoryWorld } from '../fixtures/in-memory-kubernetes.ts';
import { incidentOf } from '../fixtures/node-health.ts';
import { refusalOf } from '../fixtures/refusal-of.ts';
import { nodeNames, trainCluster } from '../fixtures/train-world.ts';

const idAnnotation = 'container.googleapis.com/instance_id';
const zone = 'us-central1-a';

function firstNode({ cluster }: InMemoryWorld): { name: string; instanceId: string } {
  const [name = ''] = nodeNames(cluster, 'slice-a');
  const { annotations } = cluster.get('nodes', undefined, name)?.metadata ?? {};
  return { name, instanceId: annotations?.[idAnnotation] ?? '' };
}

/** @returns what was found, and how often one node, and how often nodes were read */
async function find(world: InMemoryWorld, instanceId: string, displayName: string, where = zone) {
  const before = world.emulator.requests.length;
  const subject = { kind: 'instance', instanceId, zone: where } as const;
  const found = await findNodeOfInstance(world.kubernetes, subject, displayName);
  const sent = world.emulator.requests.slice(before).map(({ path }) => path);
  const [lists, reads] = [
    sent.filter((path) => path.endsWith('/nodes')),
    sent.filter((path) => /nodes\/./.test(path)),
  ];
  return { found, reads: reads.length, lists: lists.length };
}

describe('findNodeOfInstance', () => {
  it('reads the node of the displayed name alone, where that has the machine', async () => {
    const world = createInMemoryWorld();
    const { name, instanceId } = firstNode(world);
    expect(await find(world, instanceId, name)).to.deep.equal({
      found: { nodeName: name, isReplaced: false },
      reads: 1,
      lists: 0,
    });
  });

  it('looks for the machine among the nodes of its zone, where the name is another one or is none', async () => {
    const world = createInMemoryWorld();
    const { name, instanceId } = firstNode(world);
    const found = { nodeName: name, isReplaced: false };
    expect(await find(world, instanceId, 'gke-other')).to.deep.equal({ found, reads: 1, lists: 1 });
    for (const displayName of ['', 'Two words', 'gke-', '-gke', 'x'.repeat(64)]) {
      expect(await find(world, instanceId, displayName), displayName).to.deep.equal({
        found,
        reads: 0,
        lists: 1,
      });
    }
    expect((await find(world, instanceId, 'x')).reads).to.equal(1);
    expect((await find(world, instanceId, '', 'us-central1-b')).found).to.equal(undefined);
  });

  it('takes the node of that name and zone for its successor, where no node has the machine', async () => {
    const world = createInMemoryWorld();
    const { name } = firstNode(world);
    expect((await find(world, '1', name)).found).to.deep.equal({ nodeName: name, isReplaced: true });
    expect((await find(world, '1', name, 'us-central1-b')).found).to.equal(undefined);
    expect((await find(world, '1', 'gke-other')).found).to.equal(undefined);
  });
});

describe('resolveNode', () => {
  const ask = ({ kubernetes }: InMemoryWorld, instanceId: string, displayName: string) => {
    const subject = { kind: 'instance', instanceId, zone } as const;
    const incident = incidentOf({ subject, displayName });
    return resolveNode(kubernetes, { incident, cluster: { fullName: 'the cluster' } } as unknown as Action);
  };

  it('names the node of a machine', async () => {
    const world = createInMemoryWorld();
    const { name, instanceId } = firstNode(world);
    expect(await ask(world, instanceId, name)).to.include({ nodeName: name });
  });

  it('ignores the alert where the machine was replaced, and says that its problem is over', async () => {
    const world = createInMemoryWorld();
    const { name } = firstNode(world);
    const error: unknown = await ask(world, '1', name).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(Ignored);
    expect(error).to.have.property('isOver', true);
    expect((error as Ignored).message).to.equal(
      `recovered: node ${name} has another machine than the incident was about`,
    );
  });

  it('refuses a machine that no node has', async () => {
    const { code, message } = await refusalOf(ask(createInMemoryWorld(), '1', 'gke-other'));
    expect(`${code}: ${message}`).to.match(
      /^target_not_found: no node of the cluster has the machine 1 of zone us-central1-a/,
    );
  });
});

describe('resolveJobSet', () => {
  it('refuses to choose among the JobSets of several namespaces, and lists them by name', async () => {
    const { kubernetes, cluster, emulator } = createInMemoryWorld({ jobSet: { exclusiveTopology: '' } });
    cluster.addNamespace('a-team');
    cluster.addJobSet({
      namespace: 'a-team',
      name: 'other',
      replicatedJobs: [
        {
          name: 'w',
          parallelism: 1,
          resources: {},
          tolerations: [{ operator: 'Exists' }],
          nodeSelector: { 'cloud.google.com/gke-nodepool': 'slice-a' },
        },
      ],
    });
    emulator.settle();
    const action = { incident: incidentOf(), effects: { restart: true } } as Action;
    const config = readConfig({ CLUSTERS: trainCluster, ALLOWED_NAMESPACES: 'default,a-team' });
    const { code, message } = await refusalOf(resolveJobSet(kubernetes, action, 'slice-a', config));
    expect(`${code}: ${message}`).to.match(
      /^target_ambiguous: several JobSets \(a-team\/other, default\/train\) have live pods on node pool slice-a; /,
    );
    const found = await resolveJobSet(kubernetes, action, 'slice-a', {
      ...config,
      allowedNamespaces: ['a-team'],
    });
    expect(found).to.include({ namespace: 'a-team', jobSetName: 'other' });
  });
});
