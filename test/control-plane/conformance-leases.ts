import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import type { ExpectedStatus } from './expect-status.ts';
import { inParallel } from './in-parallel.ts';
import type { Answer, KubernetesList, KubernetesObject } from './kubernetes-client.ts';

const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
const modified =
  /: the object has been modified; please apply your changes to the latest version and try again$/;
const time = '2026-01-01T00:00:00.000000Z';

interface Lease extends KubernetesObject {
  spec?: { holderIdentity?: string; renewTime?: string; acquireTime?: string; leaseDurationSeconds?: number };
}

/** Leases: locks and records, by optimistic concurrency. */
export function describeLeases(stage: () => Stage): void {
  const lease = (spec?: object, metadata: object = {}): Lease & { metadata: { name: string } } =>
    ({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: `lease-${randomUUID()}`, ...metadata },
      ...(spec && { spec }),
    }) as Lease;
  const post = <T = unknown>(path: string, body: unknown): Promise<Answer<T>> =>
    stage().client.request<T>('POST', path, { body });
  const put = <T = unknown>(name: string, body: unknown): Promise<Answer<T>> =>
    stage().client.request<T>('PUT', `${leases}/${name}`, { body });
  const create = (spec?: object): Promise<Lease> => stage().client.post<Lease>(leases, lease(spec));

  /** Leaves an external cluster as clean as it was. */
  const removeLeases = async (): Promise<void> => {
    const { items } = await stage().client.get<KubernetesList<Lease>>(leases);
    const ours = (items ?? []).filter(({ metadata }) => metadata.name.startsWith('lease-'));
    await inParallel(ours, ({ metadata }) => stage().client.request('DELETE', `${leases}/${metadata.name}`));
  };

  describe('creating a Lease', () => {
    after(removeLeases);

    const taken: { title: string; spec?: object; metadata?: object }[] = [
      { title: 'with six digits of a second', spec: { renewTime: '2026-01-01T00:00:00.123456Z' } },
      { title: 'with another time zone', spec: { renewTime: '2026-01-01T02:00:00.000000+02:00' } },
      { title: 'without a spec' },
      { title: 'with nulls', spec: { holderIdentity: null, renewTime: null } },
      { title: 'with an empty holder', spec: { holderIdentity: '' } },
      {
        title: 'with 256 KiB of annotations, keys included',
        metadata: { annotations: { a: 'x'.repeat(262_143) } },
      },
    ];
    for (const { title, spec, metadata } of taken) {
      it(`works ${title}`, async () => {
        const { status, text } = await post(leases, lease(spec, metadata));
        expect(status, text.slice(0, 300)).to.equal(201);
      });
    }

    it('stores the time in UTC, to the microsecond', async () => {
      const { spec } = await create({ renewTime: '2026-01-01T02:00:00.123456+02:00', acquireTime: time });
      expect(spec).to.include({ renewTime: '2026-01-01T00:00:00.123456Z', acquireTime: time });
    });

    it('gives it a uid, a resource version and a creation time', async () => {
      const { metadata } = await create();
      expect(metadata.uid).to.match(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      expect(metadata.resourceVersion).to.match(/^\d+$/);
      expect(metadata.creationTimestamp).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    });

    it('refuses a name that exists', async () => {
      const { metadata } = await create();
      expectStatus(await post(leases, lease({}, { name: metadata.name })), {
        status: 409,
        reason: 'AlreadyExists',
        message: `leases.coordination.k8s.io "${metadata.name}" already exists`,
        details: { name: metadata.name, group: 'coordination.k8s.io', kind: 'leases' },
      });
    });

    it('succeeds for exactly one of many creates at the same time', async () => {
      const same = lease({ holderIdentity: 'x' });
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(leases, same)));
      const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
      expect(statuses).to.deep.equal([201, ...Array.from({ length: 19 }, () => 409)]);
    });

    it('names the namespace that is missing', async () => {
      const answer = await post('/apis/coordination.k8s.io/v1/namespaces/nowhere/leases', lease());
      expectStatus(answer, {
        status: 404,
        reason: 'NotFound',
        message: 'namespaces "nowhere" not found',
        details: { name: 'nowhere', kind: 'namespaces' },
      });
    });

    const notATime = /^Lease in version "v1" cannot be handled as a Lease: parsing time /;
    const refused: { title: string; spec?: object; metadata?: object; expected: ExpectedStatus }[] = [
      ...['.000Z', 'Z', '.000000000Z'].map((end) => ({
        title: `a time that ends in ${end}`,
        spec: { renewTime: `2026-01-01T00:00:00${end}` },
        expected: { status: 400, reason: 'BadRequest', message: notATime },
      })),
      {
        title: 'a duration of 0',
        spec: { leaseDurationSeconds: 0 },
        expected: {
          status: 422,
          reason: 'Invalid',
          message: /spec\.leaseDurationSeconds: Invalid value: 0: must be greater than 0$/,
        },
      },
      {
        title: 'fewer than no transitions',
        spec: { leaseTransitions: -1 },
        expected: { status: 422, reason: 'Invalid', message: /spec\.leaseTransitions: Invalid value: -1: / },
      },
      {
        title: 'a name in capitals',
        metadata: { name: 'Lease' },
        expected: {
          status: 422,
          reason: 'Invalid',
          message: /metadata\.name: Invalid value: "Lease": a lowercase RFC 1123 subdomain /,
        },
      },
      {
        title: 'a name of 254 characters',
        metadata: { name: 'a'.repeat(254) },
        expected: { status: 422, reason: 'Invalid', message: /must be no more than 253 characters$/ },
      },
      {
        title: 'no name',
        metadata: { name: '' },
        expected: { status: 422, reason: 'Invalid', message: /name or generateName is required$/ },
      },
      {
        title: 'another namespace in the body',
        metadata: { namespace: 'kube-system' },
        expected: {
          status: 400,
          reason: 'BadRequest',
          message: 'the namespace of the provided object does not match the namespace sent on the request',
        },
      },
      {
        title: 'more than 256 KiB of annotations',
        metadata: { annotations: { a: 'x'.repeat(262_144) } },
        expected: {
          status: 422,
          reason: 'Invalid',
          message: /metadata\.annotations: Too long: may not be more than 262144 bytes$/,
        },
      },
    ];
    for (const { title, spec, metadata, expected } of refused) {
      it(`refuses ${title}`, async () => {
        expectStatus(await post(leases, lease(spec, metadata)), expected);
      });
    }

    it('refuses a body that is not JSON, another kind, and another content type', async () => {
      expectStatus(await post(leases, '{'), { status: 400, reason: 'BadRequest' });
      expectStatus(await post(leases, { ...lease(), kind: 'Pod' }), { status: 400, reason: 'BadRequest' });
      const answer = await stage().client.request('POST', leases, {
        body: lease(),
        contentType: 'text/plain',
      });
      expectStatus(answer, { status: 415, reason: 'UnsupportedMediaType' });
    });
  });

  describe('replacing a Lease', () => {
    after(removeLeases);

    it('works with the resource version that was read, and changes it', async () => {
      const read = await create({ holderIdentity: 'a' });
      const { status, body } = await put<Lease>(read.metadata.name, {
        ...read,
        spec: { holderIdentity: 'b' },
      });
      expect(status).to.equal(200);
      expect(body.spec?.holderIdentity).to.equal('b');
      expect(body.metadata.uid).to.equal(read.metadata.uid);
      expect(Number(body.metadata.resourceVersion)).to.be.greaterThan(Number(read.metadata.resourceVersion));
    });

    it('refuses a stale resource version', async () => {
      const read = await create({ holderIdentity: 'a' });
      await put(read.metadata.name, { ...read, spec: { holderIdentity: 'b' } });
      const answer = await put(read.metadata.name, { ...read, spec: { holderIdentity: 'c' } });
      expectStatus(answer, {
        status: 409,
        reason: 'Conflict',
        message: modified,
        details: { name: read.metadata.name, group: 'coordination.k8s.io', kind: 'leases' },
      });
    });

    it('succeeds for exactly one of many writers with the same resource version', async () => {
      const read = await create();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          put(read.metadata.name, { ...read, spec: { holderIdentity: `h${index}` } }),
        ),
      );
      const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
      expect(statuses).to.deep.equal([200, ...Array.from({ length: 19 }, () => 409)]);
    });

    it('changes nothing if nothing differs', async () => {
      const read = await create({ holderIdentity: 'a' });
      const { status, body } = await put<Lease>(read.metadata.name, read);
      expect(status).to.equal(200);
      expect(body.metadata.resourceVersion).to.equal(read.metadata.resourceVersion);
    });

    it('refuses a replacement without a resource version', async () => {
      const { metadata } = await create();
      expectStatus(await put(metadata.name, lease({}, { name: metadata.name })), {
        status: 422,
        reason: 'Invalid',
        message: /metadata\.resourceVersion: Invalid value: 0(x0)?: must be specified for an update$/,
      });
    });

    it('refuses another uid, whether the resource version is right or not', async () => {
      const read = await create();
      const { name, resourceVersion } = read.metadata;
      for (const metadata of [
        { name, resourceVersion, uid: 'other' },
        { name, uid: 'other' },
      ]) {
        expectStatus(await put(name, lease({}, metadata)), {
          status: 409,
          reason: 'Conflict',
          message: /Precondition failed: UID in precondition: other, UID in object meta: /,
        });
      }
    });

    it('refuses a name that is not the name in the path', async () => {
      const read = await create();
      const answer = await put(read.metadata.name, {
        ...read,
        metadata: { ...read.metadata, name: 'other' },
      });
      expectStatus(answer, {
        status: 400,
        reason: 'BadRequest',
        message: /does not match the name on the URL/,
      });
    });

    it('creates the Lease again if it is gone, whatever its resource version was', async () => {
      const { metadata } = lease();
      const gone = { name: metadata.name, resourceVersion: '5' };
      const { status, body } = await put<Lease>(metadata.name, lease({}, gone));
      expect(status).to.equal(201);
      expect(body.metadata.resourceVersion).not.to.equal('5');
    });

    it('creates nothing if the body has the uid of the Lease that is gone', async () => {
      const read = await create();
      await stage().client.delete(`${leases}/${read.metadata.name}`);
      expectStatus(await put(read.metadata.name, read), {
        status: 409,
        reason: 'Conflict',
        message: /Precondition failed: UID in precondition: .*, UID in object meta: $/,
      });
      const { status } = await stage().client.request('GET', `${leases}/${read.metadata.name}`);
      expect(status).to.equal(404);
    });
  });

  describe('deleting a Lease', () => {
    it('returns a Status with the name of the deleted Lease, and 404 the second time', async () => {
      const { name, uid } = (await create()).metadata;
      const { status, body } = await stage().client.request('DELETE', `${leases}/${name}`);
      expect(status).to.equal(200);
      expect(body).to.include({ kind: 'Status', status: 'Success' });
      expect(body.details).to.deep.include({ name, uid, group: 'coordination.k8s.io', kind: 'leases' });
      expectStatus(await stage().client.request('DELETE', `${leases}/${name}`), {
        status: 404,
        reason: 'NotFound',
      });
    });

    it('fails if the uid or the resource version is not the one of the preconditions', async () => {
      const { name } = (await create()).metadata;
      const remove = (preconditions: object): Promise<Answer<unknown>> =>
        stage().client.request('DELETE', `${leases}/${name}`, { body: { preconditions } });
      expectStatus(await remove({ uid: 'other' }), {
        status: 409,
        reason: 'Conflict',
        message:
          /the UID in the precondition \(other\) does not match the UID in record \(.*\)\. The object might have been deleted and then recreated$/,
      });
      expectStatus(await remove({ resourceVersion: '1' }), {
        status: 409,
        reason: 'Conflict',
        message:
          /the ResourceVersion in the precondition \(1\) does not match the ResourceVersion in record \(\d+\)\. The object might have been modified$/,
      });
      expect((await stage().client.request('GET', `${leases}/${name}`)).status).to.equal(200);
    });

    it('works with the right uid and resource version', async () => {
      const { name, uid, resourceVersion } = (await create()).metadata;
      const { status } = await stage().client.request('DELETE', `${leases}/${name}`, {
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid, resourceVersion } },
      });
      expect(status).to.equal(200);
    });
  });
}
