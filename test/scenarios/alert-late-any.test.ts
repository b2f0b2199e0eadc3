import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import type { NotificationOptions } from '../fixtures/notification.ts';
import { countCordoned, nodeNames, whereTrainRuns } from '../fixtures/train-world.ts';

/** What an alert may be about, while the first machine of slice-a is bad. */
function listSubjects({ cluster }: AlertWorld): Record<string, Partial<NotificationOptions>> {
  const [name = ''] = nodeNames(cluster, 'slice-a');
  const { annotations = {} } = cluster.get('nodes', undefined, name)?.metadata ?? {};
  const instanceId = annotations['container.googleapis.com/instance_id'] ?? '';
  const pod = cluster.pods('default').find(({ spec }) => spec.nodeName === name)?.metadata.name ?? '';
  const jobSet = { entity_type: 'jobset', entity_namespace: 'default', entity_name: 'train' };
  const machine = { project_id: 'demo-project', zone: 'us-central1-a', instance_id: instanceId };
  return {
    k8s_node: { resource: { node_name: name } },
    k8s_node_pool: { type: 'k8s_node_pool', resource: { node_pool_name: 'slice-a' } },
    k8s_pod: { type: 'k8s_pod', resource: { namespace_name: 'default', pod_name: pod } },
    k8s_entity: { type: 'k8s_entity', resource: jobSet },
    gce_instance: { type: 'gce_instance', clusterLabels: null, resource: machine, displayName: name },
  };
}

const recoveries: Record<string, (world: AlertWorld, node: string) => Promise<void>> = {
  'its machine answers again': async (world, node) => {
    world.cluster.killNode(node);
    await world.pass(60);
    world.cluster.reviveNode(node);
  },
  'GKE has made the slice anew': async (world) => {
    for (const each of nodeNames(world.cluster, 'slice-a')) {
      world.cluster.replaceInstance(each, 'reregistered');
    }
    await world.pass(60);
  },
};

/** slice-b is closed meanwhile, so that the run comes back to slice-a. */
async function recover(world: AlertWorld, how: string): Promise<void> {
  const { cluster } = world;
  const elsewhere = nodeNames(cluster, 'slice-b');
  for (const name of elsewhere) cluster.cordonAs('kubectl', name, true);
  await world.pass(5);
  await recoveries[how]?.(world, nodeNames(cluster, 'slice-a')[0] ?? '');
  await world.pass(10);
  const [pod] = cluster.pods('default');
  if (whereTrainRuns(cluster)[0] !== 'slice-a #1') {
    cluster.finishPod('default', pod?.metadata.name ?? '', 'Failed');
  }
  await world.pass(60);
  for (const name of elsewhere) cluster.cordonAs('kubectl', name, false);
  expect(whereTrainRuns(cluster)).to.deep.equal(['slice-a #1']);
  expect(countCordoned(cluster, 'slice-a')).to.equal(0);
  world.effects();
}

const types = [
  'cordon_nodepool',
  'cordon_nodepool_and_restart_jobset',
  'cordon_and_repair_nodepool',
  'repair_nodepool',
];

// F-210, F-70, F-71: the question was asked for some types and some resources only.
describe('an alert that is older than the world, whatever it is about and asks for', () => {
  for (const how of Object.keys(recoveries)) {
    for (const type of types) {
      const labels = { failover_action: type };

      it(`touches nothing (${type}, ${how})`, async () => {
        const world = new AlertWorld();
        await world.pass(60);
        const startedAt = world.time.now;
        const subjects = listSubjects(world);
        await recover(world, how);
        for (const [subject, options] of Object.entries(subjects)) {
          const { body } = await world.notify({ ...options, id: `0.${subject}`, labels, startedAt });
          // The pod of the attempt before is gone, and with it the way to its pool.
          if (subject === 'k8s_pod') expect(body.code, subject).to.equal('target_not_found');
          else expect(body.ignored, `${subject}: ${JSON.stringify(body)}`).to.match(/^recovered: /);
          expect(world.effects(), subject).to.deep.equal({});
        }
      });

      if (type === 'repair_nodepool') continue;
      it(`touches nothing more when it is resumed (${type}, ${how})`, async () => {
        for (const subject of Object.keys(listSubjects(new AlertWorld()))) {
          const world = new AlertWorld();
          await world.pass(60);
          const options = listSubjects(world)[subject];
          const notification = createNotification({ ...options, labels, startedAt: world.time.now });
          const lift = world.cluster.deny({ verb: 'patch', resource: 'nodes' });
          expect((await world.send(notification)).status, subject).to.equal(502);
          lift();
          await recover(world, how);
          const { body } = await world.send(notification);
          expect(body.ignored, `${subject}: ${JSON.stringify(body)}`).to.match(/^recovered: /);
          expect(world.effects(), subject).to.deep.equal({});
        }
      });
    }
  }
});
