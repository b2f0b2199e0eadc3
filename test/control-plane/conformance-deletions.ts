import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import { expectStatus } from './expect-status.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, KubernetesList, Pod } from './kubernetes-client.ts';

const podCount = '/api/v1/namespaces/default/pods';

/** Deleting pods: preconditions, grace, finalizers, and machines that are dead. */
export function describeDeletions(stage: () => Stage): void {
  const create = async (metadata: object = {}): Promise<Pod> =>
    stage().client.post<Pod>(podCount, {
      metadata: { name: `pod-${randomUUID()}`, labels: { of: 'deletions' }, ...metadata },
      spec: {
        nodeName: stage().nodes[6],
        restartPolicy: 'Never',
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'main', image: 'main' }],
      },
    });
  const path = ({ metadata }: Pod): string => `${podCount}/${metadata.name}`;
  const remove = (pod: Pod, body?: object): Promise<Answer<Pod>> =>
    stage().client.request<Pod>('DELETE', path(pod), body ? { body } : {});
  const find = async (pod: Pod): Promise<Pod | undefined> => {
    const { status, body } = await stage().client.request<Pod>('GET', path(pod));
    return status === 404 ? undefined : body;
  };
  const gone = (pod: Pod): Promise<boolean> =>
    eventually('the pod is gone', async () => (await find(pod)) === undefined, { advance: stage().advance });

  describe('deleting a pod', () => {
    it('fails if the uid is not the one of the precondition', async () => {
      const pod = await create();
      const { name, uid } = pod.metadata;
      expectStatus(await remove(pod, { gracePeriodSeconds: 0, preconditions: { uid: 'other' } }), {
        status: 409,
        reason: 'Conflict',
        message: `Operation cannot be fulfilled on Pod "${name}": the UID in the precondition (other) does not match the UID in record (${uid}). The object might have been deleted and then recreated`,
      });
      expect((await find(pod))?.metadata).not.to.have.property('deletionTimestamp');
      await remove(pod, { gracePeriodSeconds: 0 });
    });

    it('removes the pod at once with grace 0 and the right uid', async () => {
      const pod = await create();
      const { status } = await remove(pod, {
        gracePeriodSeconds: 0,
        preconditions: { uid: pod.metadata.uid },
      });
      expect(status).to.equal(200);
      expect(await find(pod)).to.equal(undefined);
      expectStatus(await remove(pod, { gracePeriodSeconds: 0 }), {
        status: 404,
        reason: 'NotFound',
        message: `pods "${pod.metadata.name}" not found`,
      });
    });

    it('does not touch the next pod of the same name', async () => {
      const pod = await create();
      await remove(pod, { gracePeriodSeconds: 0 });
      const successor = await create({ name: pod.metadata.name });
      const answer = await remove(pod, { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
      expectStatus(answer, { status: 409, reason: 'Conflict' });
      expect((await find(successor))?.metadata.uid).to.equal(successor.metadata.uid);
      await remove(successor, { gracePeriodSeconds: 0 });
    });

    it('shortens the grace of a pod that terminates already, and never prolongs it', async () => {
      const pod = await create({ annotations: { 'autometric-failover.test/uses-its-grace': 'true' } });
      const isBound = async (): Promise<boolean> => (await find(pod))?.status.phase === 'Running';
      await eventually('the pod runs', isBound, { advance: stage().advance });
      const graces: (number | undefined)[] = [];
      for (const gracePeriodSeconds of [600, 300, 500]) {
        await remove(pod, { gracePeriodSeconds, preconditions: { uid: pod.metadata.uid } });
        graces.push((await find(pod))?.metadata.deletionGracePeriodSeconds);
      }
      expect(graces).to.deep.equal([600, 300, 300]);
      await remove(pod, { gracePeriodSeconds: 0 });
      await gone(pod);
    });

    it('keeps a pod that has a finalizer, marked for deletion, until the finalizer is gone', async () => {
      const pod = await create({ finalizers: ['example.com/hold'] });
      const { status } = await remove(pod, { gracePeriodSeconds: 0 });
      expect(status).to.equal(200);
      expect((await find(pod))?.metadata).to.have.property('deletionTimestamp');
      expect((await remove(pod, { gracePeriodSeconds: 0 })).status).to.equal(200);
      await stage().client.patch(path(pod), { metadata: { finalizers: null } });
      await gone(pod);
    });

    it('removes the pod after its own grace, once the kubelet reports that it ended', async function () {
      if (!stage().can.runJobSets) this.skip();
      const pod = await create();
      await eventually('it runs', async () => (await find(pod))?.status.phase === 'Running', {
        advance: stage().advance,
      });
      const { status, body } = await remove(pod);
      expect(status).to.equal(200);
      expect(body.metadata).to.have.property('deletionTimestamp');
      await gone(pod);
    });

    it('needs grace 0 on a dead machine', async function () {
      if (!stage().can.runJobSets) this.skip();
      const { world, advance, nodes } = stage();
      const dead = nodes[6] ?? '';
      const pod = await create();
      await eventually('it runs', async () => (await find(pod))?.status.phase === 'Running', { advance });
      await world.killNode(dead);
      await remove(pod);
      advance?.();
      expect((await find(pod))?.metadata).to.include({ deletionGracePeriodSeconds: 30 });
      expect(
        (await remove(pod, { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } })).status,
      ).to.equal(200);
      expect(await find(pod)).to.equal(undefined);
      await world.reviveNode(dead);
    });
  });

  describe('pods', () => {
    it('can be selected by node and phase', async function () {
      if (!stage().can.runJobSets) this.skip();
      const pod = await create();
      const { advance, nodes } = stage();
      await eventually('it runs', async () => (await find(pod))?.status.phase === 'Running', { advance });
      const list = async (fieldSelector: string): Promise<string[]> => {
        const query = new URLSearchParams({ fieldSelector, labelSelector: 'of=deletions' }).toString();
        const { items } = await stage().client.get<KubernetesList<Pod>>(`/api/v1/pods?${query}`);
        return (items ?? []).map(({ metadata }) => metadata.name);
      };
      const { name } = pod.metadata;
      expect(await list(`spec.nodeName=${nodes[6]}`)).to.deep.equal([name]);
      expect(
        await list(`spec.nodeName=${nodes[6]},status.phase!=Succeeded,status.phase!=Failed`),
      ).to.deep.equal([name]);
      expect(await list(`spec.nodeName=${nodes[6]},status.phase=Pending`)).to.deep.equal([]);
      expect(await list(`spec.nodeName=${nodes[7]}`)).to.deep.equal([]);
      await remove(pod, { gracePeriodSeconds: 0 });
    });

    it('keep a patch of their conditions, which is merged by type', async () => {
      const pod = await create();
      const patch = (type: string, status: string): Promise<Answer<Pod>> =>
        stage().client.request<Pod>('PATCH', `${path(pod)}/status`, {
          body: { status: { conditions: [{ type, status, reason: 'Tested', message: '' }] } },
          contentType: patchTypes.strategic,
        });
      expect((await patch('example.com/one', 'True')).status).to.equal(200);
      await patch('example.com/two', 'True');
      const { body } = await patch('example.com/one', 'False');
      const found = (body.status.conditions ?? []).filter(({ reason }) => reason === 'Tested');
      expect(found.map(({ type, status }) => `${type} ${status}`)).to.have.members([
        'example.com/one False',
        'example.com/two True',
      ]);
      await remove(pod, { gracePeriodSeconds: 0 });
    });
  });
}
