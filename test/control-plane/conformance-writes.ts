import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import type { ExpectedStatus } from './expect-status.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, Node } from './kubernetes-client.ts';

const modified =
  /: the object has been modified; please apply your changes to the latest version and try again$/;

/** Patches of the three older kinds: which are accepted, which preconditions they may have, and what a no-op does. */
export function describeWrites(stage: () => Stage): void {
  const path = (): string => `/api/v1/nodes/${stage().nodes[4]}`;
  const patch = <T = unknown>(contentType: string, body: unknown, query = ''): Promise<Answer<T>> =>
    stage().client.request<T>('PATCH', `${path()}${query}`, { body, contentType });
  const read = (): Promise<Node> => stage().client.get<Node>(path());

  describe('patches', () => {
    const taken: { contentType: string; body: unknown }[] = [
      { contentType: patchTypes.merge, body: { metadata: { annotations: { taken: 'merge' } } } },
      { contentType: patchTypes.strategic, body: { metadata: { annotations: { taken: 'strategic' } } } },
      {
        contentType: patchTypes.json,
        body: [{ op: 'add', path: '/metadata/annotations/taken', value: 'json' }],
      },
      {
        contentType: `${patchTypes.merge}; charset=utf-8`,
        body: { metadata: { annotations: { taken: 'charset' } } },
      },
    ];
    for (const { contentType, body } of taken) {
      it(`accept ${contentType}`, async () => {
        const { status, body: patched } = await patch<Node>(contentType, body);
        expect(status).to.equal(200);
        expect(patched.metadata.annotations?.['taken']).to.be.a('string');
        expect(patched.metadata.resourceVersion).to.equal((await read()).metadata.resourceVersion);
      });
    }

    for (const contentType of ['application/json', 'text/plain', 'application/yaml']) {
      it(`refuse ${contentType}`, async () => {
        expectStatus(await patch(contentType, { metadata: {} }), {
          status: 415,
          reason: 'UnsupportedMediaType',
        });
      });
    }

    it('refuse a strategic merge for a custom resource', async function () {
      if (!stage().can.runJobSets) this.skip();
      const answer = await stage().client.request(
        'PATCH',
        '/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets/none',
        { body: {}, contentType: patchTypes.strategic },
      );
      expectStatus(answer, { status: 415, reason: 'UnsupportedMediaType' });
    });

    it('remove a field with null, and keep fields that they do not name', async () => {
      await patch(patchTypes.merge, { metadata: { annotations: { one: '1', two: '2' } } });
      const { body } = await patch<Node>(patchTypes.merge, { metadata: { annotations: { one: null } } });
      expect(body.metadata.annotations).to.include({ two: '2' }).and.not.to.have.property('one');
    });

    it('replace the list of taints, also in a strategic merge, because it has no merge key', async () => {
      const taint = (key: string): object => ({ key, value: 'x', effect: 'PreferNoSchedule' });
      const before = (await read()).spec.taints ?? [];
      for (const contentType of [patchTypes.strategic, patchTypes.merge]) {
        await patch(contentType, { spec: { taints: [...before, taint('a')] } });
        const { body } = await patch<Node>(contentType, { spec: { taints: [...before, taint('b')] } });
        expect(body.spec.taints?.map(({ key }) => key))
          .to.include('b')
          .and.not.to.include('a');
      }
      await patch(patchTypes.merge, { spec: { taints: before } });
    });

    it('change nothing if nothing differs, not even the resource version', async () => {
      const { body: first } = await patch<Node>(patchTypes.merge, {
        metadata: { annotations: { same: 'same' } },
      });
      for (const contentType of [patchTypes.merge, patchTypes.strategic]) {
        const { status, body } = await patch<Node>(contentType, {
          metadata: { annotations: { same: 'same' } },
        });
        expect(status).to.equal(200);
        expect(body.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
      }
    });

    it('get 404 if the object does not exist', async () => {
      const answer = await stage().client.request('PATCH', '/api/v1/nodes/none', {
        body: { metadata: { labels: { a: 'b' } } },
        contentType: patchTypes.merge,
      });
      expectStatus(answer, { status: 404, reason: 'NotFound', message: 'nodes "none" not found' });
    });

    it('return a partial object if the Accept header asks for one', async () => {
      const { status, body } = await stage().client.request<Node>('PATCH', path(), {
        body: { metadata: { annotations: { partial: 'yes' } } },
        contentType: patchTypes.merge,
        accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json',
      });
      expect(status).to.equal(200);
      expect(body).to.include({ kind: 'PartialObjectMetadata' }).and.not.to.have.any.keys('spec', 'status');
      expect(body.metadata.annotations).to.include({ partial: 'yes' });
    });

    it('change nothing in a dry run, and return the object as it would be', async () => {
      const before = await read();
      const { status, body } = await patch<Node>(
        patchTypes.merge,
        { metadata: { labels: { dry: 'run' } } },
        '?dryRun=All',
      );
      expect(status).to.equal(200);
      expect(body.metadata.labels).to.include({ dry: 'run' });
      expect((await read()).metadata).to.deep.equal(before.metadata);
    });

    it('leave the status, which has a path of its own', async () => {
      const before = (await read()).status.allocatable;
      const { status, body } = await patch<Node>(patchTypes.merge, { status: { allocatable: { cpu: '1' } } });
      expect(status).to.equal(200);
      expect(body.status.allocatable).to.deep.equal(before);
    });

    const refused: { title: string; contentType: string; body: unknown; expected: ExpectedStatus }[] = [
      {
        title: 'half a merge patch',
        contentType: patchTypes.merge,
        body: '{',
        expected: { status: 400, reason: 'BadRequest' },
      },
      {
        title: 'half a strategic patch',
        contentType: patchTypes.strategic,
        body: '{',
        expected: { status: 400, reason: 'BadRequest' },
      },
      {
        title: 'a merge patch that is a list',
        contentType: patchTypes.merge,
        body: '[]',
        expected: { status: 400, reason: 'BadRequest', message: /^error decoding patch: / },
      },
      {
        title: 'a JSON patch that is no list',
        contentType: patchTypes.json,
        body: {},
        expected: { status: 400, reason: 'BadRequest', message: /^error decoding patch: / },
      },
      {
        title: 'a JSON patch whose test fails',
        contentType: patchTypes.json,
        body: [{ op: 'test', path: '/metadata/uid', value: 'other' }],
        expected: {
          status: 422,
          reason: 'Invalid',
          message: 'the server rejected our request due to an error in our request',
        },
      },
      {
        title: 'a JSON patch that removes what is not there',
        contentType: patchTypes.json,
        body: [{ op: 'remove', path: '/metadata/annotations/none' }],
        expected: { status: 422, reason: 'Invalid' },
      },
      {
        title: 'a merge patch with an old resource version',
        contentType: patchTypes.merge,
        body: { metadata: { resourceVersion: '1', labels: { a: 'b' } } },
        expected: { status: 409, reason: 'Conflict', message: modified },
      },
      {
        title: 'a strategic patch with an old resource version',
        contentType: patchTypes.strategic,
        body: { metadata: { resourceVersion: '1', labels: { a: 'b' } } },
        expected: { status: 409, reason: 'Conflict', message: modified },
      },
      {
        title: 'an old resource version even where nothing would change',
        contentType: patchTypes.merge,
        body: { metadata: { resourceVersion: '1' } },
        expected: { status: 409, reason: 'Conflict', message: modified },
      },
      {
        title: 'another uid',
        contentType: patchTypes.merge,
        body: { metadata: { uid: 'other' } },
        expected: {
          status: 422,
          reason: 'Invalid',
          message: /metadata\.uid: Invalid value: "other": field is immutable/,
        },
      },
      {
        title: 'another name',
        contentType: patchTypes.merge,
        body: { metadata: { name: 'other' } },
        expected: {
          status: 400,
          reason: 'BadRequest',
          message: /^the name of the object \(other\) does not match the name on the URL/,
        },
      },
      {
        title: 'a string where a boolean belongs',
        contentType: patchTypes.merge,
        body: { spec: { unschedulable: 'yes' } },
        expected: { status: 422, reason: 'Invalid' },
      },
      {
        title: 'a label that is none',
        contentType: patchTypes.merge,
        body: { metadata: { labels: { x: 'a b' } } },
        expected: { status: 422, reason: 'Invalid', message: /metadata\.labels: Invalid value: "a b"/ },
      },
    ];
    for (const { title, contentType, body, expected } of refused) {
      it(`refuse ${title}, and change nothing`, async () => {
        // Not by its resourceVersion: the kubelet may report its status meanwhile.
        const told = ({ spec, metadata: { labels, annotations, uid } }: Node) => ({
          spec,
          labels,
          annotations,
          uid,
        });
        const before = told(await read());
        expectStatus(await patch(contentType, body), expected);
        expect(told(await read())).to.deep.equal(before);
      });
    }

    it('accept the right uid and the current resource version', async () => {
      const { uid, resourceVersion } = (await read()).metadata;
      for (const contentType of [patchTypes.merge, patchTypes.strategic]) {
        const { status } = await patch(contentType, { metadata: { uid } });
        expect(status).to.equal(200);
      }
      const { status } = await patch(patchTypes.merge, {
        metadata: { resourceVersion, annotations: { current: 'yes' } },
      });
      expect(status).to.equal(200);
      const test = { op: 'test', path: '/metadata/uid', value: uid };
      expect((await patch(patchTypes.json, [test])).status).to.equal(200);
    });
  });
}
