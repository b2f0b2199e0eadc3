import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import type { ExpectedStatus } from './expect-status.ts';
import { inParallel } from './in-parallel.ts';
import type { Answer, KubernetesList, KubernetesObject } from './kubernetes-client.ts';

const events = '/api/v1/namespaces/default/events';
const time = '2026-01-01T00:00:00.000000Z';

/** Events: what they must say, and of what in which namespace. */
export function describeEvents(stage: () => Stage): void {
  const post = (path: string, body: unknown): Promise<Answer<unknown>> =>
    stage().client.request('POST', path, { body });

  describe('Events', () => {
    /** Leaves an external cluster as clean as it was. */
    after(async () => {
      const { items } = await stage().client.get<KubernetesList<KubernetesObject>>(events);
      const ours = (items ?? []).filter(({ metadata }) => metadata.name.startsWith('event-'));
      await inParallel(ours, ({ metadata }) =>
        stage().client.request('DELETE', `${events}/${metadata.name}`),
      );
    });

    const event = (involvedObject: object, more: object = {}): KubernetesObject =>
      ({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: `event-${randomUUID()}` },
        involvedObject,
        reason: 'Tested',
        message: 'a message',
        type: 'Normal',
        source: { component: 'conformance' },
        firstTimestamp: '2026-01-01T00:00:00Z',
        lastTimestamp: '2026-01-01T00:00:00Z',
        count: 1,
        ...more,
      }) as unknown as KubernetesObject;
    const node = { kind: 'Node', apiVersion: 'v1', name: 'some-node', uid: 'some-uid' };
    const jobSet = {
      kind: 'JobSet',
      apiVersion: 'jobset.x-k8s.io/v1alpha2',
      name: 'train',
      namespace: 'default',
    };
    const dated = {
      eventTime: time,
      reportingComponent: 'example.com/conformance',
      reportingInstance: 'one',
      action: 'Test',
    };

    const taken: { title: string; body: object }[] = [
      { title: 'on a node, in the namespace default', body: event(node) },
      { title: 'on an object of its own namespace', body: event(jobSet) },
      { title: 'of 3,000 characters', body: event(node, { message: 'x'.repeat(3000) }) },
      { title: 'of a type of its own and without a reason', body: event(node, { type: 'Odd', reason: '' }) },
      {
        title: 'with fractions of a second, which it drops',
        body: event(node, { firstTimestamp: '2026-01-01T00:00:00.123Z' }),
      },
      { title: 'with an eventTime and all that then belongs to it', body: event(node, dated) },
    ];
    for (const { title, body } of taken) {
      it(`accepts one ${title}`, async () => {
        const { status, text } = await post(events, body);
        expect(status, text).to.equal(201);
      });
    }

    const mismatch = /involvedObject\.namespace: Invalid value: ".*": does not match event\.namespace$/;
    const refused: { title: string; path?: string; body: object; expected: ExpectedStatus }[] = [
      {
        title: 'one on a node in another namespace',
        path: '/api/v1/namespaces/kube-system/events',
        body: event(node),
        expected: { status: 422, reason: 'Invalid', message: mismatch },
      },
      {
        title: 'one on an object of another namespace',
        body: event({ ...jobSet, namespace: 'kube-system' }),
        expected: { status: 422, reason: 'Invalid', message: mismatch },
      },
      {
        title: 'one with an eventTime alone',
        body: event(node, { eventTime: time }),
        expected: { status: 422, reason: 'Invalid', message: /reportingComponent: Required value/ },
      },
      {
        title: 'one with an eventTime and 1,025 characters',
        body: event(node, { ...dated, message: 'x'.repeat(1025) }),
        expected: {
          status: 422,
          reason: 'Invalid',
          message: /message: Invalid value: "": can have at most 1024 characters$/,
        },
      },
      {
        title: 'one with a time that is none',
        body: event(node, { firstTimestamp: 'yesterday' }),
        expected: {
          status: 400,
          reason: 'BadRequest',
          message: /^Event in version "v1" cannot be handled as a Event: parsing time "yesterday"/,
        },
      },
      {
        title: 'one in a namespace that does not exist',
        path: '/api/v1/namespaces/nowhere/events',
        body: event({ ...jobSet, namespace: 'nowhere' }),
        expected: { status: 404, reason: 'NotFound', message: 'namespaces "nowhere" not found' },
      },
    ];
    for (const { title, path = events, body, expected } of refused) {
      it(`refuses ${title}`, async () => {
        expectStatus(await post(path, body), expected);
      });
    }

    it('refuses a name that exists, so a retry adds no second Event', async () => {
      const once = event(node);
      await post(events, once);
      expectStatus(await post(events, once), {
        status: 409,
        reason: 'AlreadyExists',
        message: `events "${once.metadata.name}" already exists`,
      });
    });

    it('finds Events by the object that they are about', async () => {
      const { metadata } = await stage().client.post(events, event({ ...node, name: 'found-node' }));
      const find = async (fieldSelector: string): Promise<string[]> => {
        const query = new URLSearchParams({ fieldSelector }).toString();
        const { items } = await stage().client.get<KubernetesList<KubernetesObject>>(`${events}?${query}`);
        return (items ?? []).map((item) => item.metadata.name);
      };
      expect(await find('involvedObject.kind=Node,involvedObject.name=found-node,reason=Tested')).to.include(
        metadata.name,
      );
      expect(await find('involvedObject.name=found-node,type=Warning')).to.deep.equal([]);
    });
  });
}
