import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import type { Node, Pod } from './kubernetes-client.ts';

const podCount = '/api/v1/namespaces/default/pods';
const instanceIdAnnotation = 'container.googleapis.com/instance_id';

/** Machines behind nodes as on GKE: what a node says about its machine, and what happens if it dies or is replaced. */
export function describeMachines(stage: () => Stage): void {
  const name = (): string => stage().nodes[7] ?? '';
  const read = (): Promise<Node> => stage().client.get<Node>(`/api/v1/nodes/${name()}`);
  const readyOf = ({ status }: Node | Pod): string | undefined =>
    status.conditions?.find(({ type }) => type === 'Ready')?.status;
  const unreachableTaints = async (): Promise<string[]> =>
    ((await read()).spec.taints ?? [])
      .filter(({ key }) => key === 'node.kubernetes.io/unreachable')
      .map(({ effect }) => effect)
      .sort();
  const createPod = async (tolerations: object[]): Promise<string> => {
    const pod = await stage().client.post<Pod>(podCount, {
      metadata: { name: `machine-${randomUUID()}` },
      spec: { nodeName: name(), tolerations, containers: [{ name: 'main', image: 'main' }] },
    });
    const path = `${podCount}/${pod.metadata.name}`;
    await eventually(
      'it runs',
      async () => (await stage().client.get<Pod>(path)).status.phase === 'Running',
      {
        advance: stage().advance,
      },
    );
    return path;
  };

  describe('machines', () => {
    it('can be identified by labels, an annotation and a providerID', async () => {
      const { metadata, spec } = await read();
      expect(metadata.labels).to.include({
        'cloud.google.com/gke-nodepool': 'conformance',
        'cloud.google.com/gke-tpu-topology': '4x8',
        'cloud.google.com/gke-tpu-accelerator': 'tpu-v6e-slice',
        'cloud.google.com/gke-accelerator-count': '4',
        'kubernetes.io/hostname': name(),
        'topology.kubernetes.io/region': 'us-central1',
        'topology.kubernetes.io/zone': 'us-central1-a',
      });
      expect(metadata.annotations?.[instanceIdAnnotation]).to.match(/^[1-9]\d{17,19}$/);
      expect(spec.providerID).to.equal(`gce://test-project/us-central1-a/${name()}`);
    });

    it('make their node unreachable when they die; their pods are not ready, but still Running', async function () {
      if (!stage().can.runJobSets) this.skip();
      const { client, world, advance } = stage();
      const pod = await createPod([{ operator: 'Exists' }]);
      await world.killNode(name());
      await eventually('the taints are there', async () => (await unreachableTaints()).length === 2, {
        advance,
      });
      expect(await unreachableTaints()).to.deep.equal(['NoExecute', 'NoSchedule']);
      expect(readyOf(await read())).to.equal('Unknown');
      const { status, ...rest } = await client.get<Pod>(pod);
      expect(readyOf({ status, ...rest })).to.equal('False');
      expect(status.phase).to.equal('Running');

      await world.reviveNode(name());
      expect(readyOf(await read())).to.equal('True');
      await eventually('the taints are gone', async () => (await unreachableTaints()).length === 0, {
        advance,
      });
      await client.delete(pod, { gracePeriodSeconds: 0 });
    });

    it('can have died some time ago', async function () {
      if (!stage().can.runJobSets) this.skip();
      await stage().world.killNode(name(), { notReadyForSeconds: 600 });
      // Read after the kill, so that a slow machine makes no difference. 10 s are for clocks that differ.
      const now = Date.parse(String((await stage().client.request('GET', '/version')).headers['date']));
      const since = (await read()).status.conditions?.find(
        ({ type }) => type === 'Ready',
      )?.lastTransitionTime;
      await stage().world.reviveNode(name());
      expect(Date.parse(since ?? '')).to.be.at.most(now - 590_000);
    });

    it('that died only have their pods marked for deletion, when the toleration ends', async function () {
      if (!stage().can.runJobSets) this.skip();
      const { client, world, advance } = stage();
      // 300 s unless a pod says otherwise; with 1 s it is the same, sooner.
      const toleration = { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' };
      const pod = await createPod([
        { ...toleration, tolerationSeconds: 1 },
        { key: 'google.com/tpu', operator: 'Exists' },
      ]);
      await world.killNode(name());
      const { metadata, status } = await eventually(
        'it is marked',
        async () => {
          const found = await client.get<Pod>(pod);
          return found.metadata.deletionTimestamp !== undefined && found;
        },
        { advance },
      );
      expect(metadata).to.include({ deletionGracePeriodSeconds: 30 });
      expect(status.phase).to.equal('Running');
      expect(status.conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason).to.equal(
        'DeletionByTaintManager',
      );
      await client.delete(pod, { gracePeriodSeconds: 0 });
      await world.reviveNode(name());
    });

    it('can be replaced behind the same Node, which then has another instance id', async () => {
      const before = (await read()).metadata;
      await stage().world.replaceInstance(name());
      const after = (await read()).metadata;
      expect(after.uid).to.equal(before.uid);
      expect(after.annotations?.[instanceIdAnnotation]).not.to.equal(
        before.annotations?.[instanceIdAnnotation],
      );
    });

    it('can be replaced with a new Node of the same name, which is not cordoned', async () => {
      const before = (await read()).metadata;
      await stage().client.patch(`/api/v1/nodes/${name()}`, { spec: { unschedulable: true } });
      await stage().world.replaceInstance(name(), { newNode: true });
      const { metadata, spec } = await read();
      expect(metadata.uid).not.to.equal(before.uid);
      expect(metadata.annotations?.[instanceIdAnnotation]).not.to.equal(
        before.annotations?.[instanceIdAnnotation],
      );
      expect(spec.unschedulable ?? false).to.equal(false);
    });
  });
}
