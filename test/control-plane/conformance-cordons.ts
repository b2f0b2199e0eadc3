import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { eventually } from './eventually.ts';
import { expectStatus } from './expect-status.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, Node } from './kubernetes-client.ts';

const ours = 'autometric-failover';
const annotation = 'autometric-failover/action';
const partialMetadata = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

/** Who owns a cordon: server-side apply as the function does it, beside what people do. */
export function describeCordons(stage: () => Stage): void {
  let node: Node;

  const path = (): string => `/api/v1/nodes/${node.metadata.name}`;
  const apply = (
    body: object,
    query = `fieldManager=${ours}&force=true`,
    accept?: string,
  ): Promise<Answer<Node>> =>
    stage().client.request<Node>('PATCH', `${path()}?${query}`, {
      body: { apiVersion: 'v1', kind: 'Node', ...body },
      contentType: patchTypes.apply,
      ...(accept !== undefined && { accept }),
    });
  const identity = (): object => ({ name: node.metadata.name, uid: node.metadata.uid });
  const cordon = (query?: string, accept?: string): Promise<Answer<Node>> =>
    apply(
      { metadata: { ...identity(), annotations: { [annotation]: 'id-1' } }, spec: { unschedulable: true } },
      query,
      accept,
    );
  const release = (): Promise<Answer<Node>> => apply({ metadata: identity() });
  /** What `kubectl cordon` and `kubectl uncordon` send. */
  const personCordons = (value: boolean): Promise<Answer<Node>> =>
    stage().client.request<Node>('PATCH', `${path()}?fieldManager=kubectl`, {
      body: { spec: { unschedulable: value ? true : null } },
      contentType: patchTypes.strategic,
    });
  const read = (): Promise<Node> => stage().client.get<Node>(path());
  const isCordoned = async (): Promise<boolean> => (await read()).spec.unschedulable === true;
  const owners = async (): Promise<string[]> =>
    ((await read()).metadata.managedFields ?? [])
      .filter(({ fieldsV1 }) => 'f:unschedulable' in Object(fieldsV1['f:spec']))
      .map(({ manager, operation }) => `${manager} ${operation}`)
      .sort();

  const taints = async (): Promise<string[]> => (await read()).spec.taints?.map(({ key }) => key) ?? [];

  describe('cordons', () => {
    before(async () => {
      node = await stage().client.get<Node>(`/api/v1/nodes/${stage().nodes[5]}`);
    });
    /** A new Node for each test, as after a repair: the same name, another uid, nobody's fields. */
    beforeEach(async () => {
      const { world, can, advance } = stage();
      await world.replaceInstance(node.metadata.name, { newNode: true });
      if (can.runJobSets) {
        await eventually('the node has no taint but its own', async () => (await taints()).length === 1, {
          advance,
        });
      }
      node = await read();
    });

    it('belong to our field manager, and a release leaves nothing of it', async () => {
      const { status, body } = await cordon();
      expect(status).to.equal(200);
      expect(body.spec.unschedulable).to.equal(true);
      expect(body.metadata.annotations).to.include({ [annotation]: 'id-1' });
      expect(await owners()).to.deep.equal([`${ours} Apply`]);
      expect((await release()).status).to.equal(200);
      const after = await read();
      expect(after.spec.unschedulable ?? false).to.equal(false);
      expect(after.metadata.annotations).not.to.have.property(annotation);
      expect(after.metadata.managedFields?.filter(({ manager }) => manager === ours)).to.deep.equal([]);
    });

    it('still belong to a person who cordoned first', async () => {
      await personCordons(true);
      expect((await cordon()).status).to.equal(200);
      expect(await owners()).to.deep.equal([`${ours} Apply`, 'kubectl Update']);
      expect((await release()).status).to.equal(200);
      expect(await isCordoned()).to.equal(true);
      expect(await owners()).to.deep.equal(['kubectl Update']);
      expect((await read()).metadata.annotations).not.to.have.property(annotation);
    });

    it('end when a person uncordons, and our release then changes nothing', async () => {
      await cordon();
      expect((await personCordons(false)).status).to.equal(200);
      expect(await isCordoned()).to.equal(false);
      expect((await read()).metadata.annotations).to.include({ [annotation]: 'id-1' });
      expect((await release()).status).to.equal(200);
      expect(await isCordoned()).to.equal(false);
    });

    it('belong to the person who uncordons ours and cordons again', async () => {
      await cordon();
      await personCordons(false);
      await personCordons(true);
      expect(await owners()).to.deep.equal(['kubectl Update']);
      expect((await release()).status).to.equal(200);
      expect(await isCordoned()).to.equal(true);
    });

    // F-430: NVSentinel finds a node cordoned and writes its annotations only, and takes our release for a person's.
    it('stay ours alone where another tool finds the node cordoned, also if it writes the same value', async () => {
      await cordon();
      const quarantine = {
        metadata: { annotations: { quarantineHealthEventIsCordoned: 'True' } },
        spec: { unschedulable: true },
      };
      const { status } = await stage().client.request('PATCH', `${path()}?fieldManager=fault-quarantine`, {
        body: quarantine,
        contentType: patchTypes.merge,
      });
      expect(status).to.equal(200);
      expect(await owners()).to.deep.equal([`${ours} Apply`]);
      expect((await release()).status).to.equal(200);
      expect(await isCordoned()).to.equal(false);
      expect((await read()).metadata.annotations).to.include({ quarantineHealthEventIsCordoned: 'True' });
    });

    it('change nothing when they are repeated, not even the resource version', async () => {
      await cordon();
      if (stage().can.runJobSets) {
        await eventually('the taint is there', async () => (await taints()).length === 2, {
          advance: stage().advance,
        });
      }
      const { resourceVersion } = (await read()).metadata;
      const { status, body } = await cordon();
      expect(status).to.equal(200);
      expect(body.metadata.resourceVersion).to.equal(resourceVersion);
    });

    it("need no resource version, so a kubelet's write in between is no conflict", async () => {
      const heartbeat = {
        type: 'Ready',
        status: 'True',
        reason: 'KubeletReady',
        lastHeartbeatTime: new Date().toISOString().replace(/\.\d+/, ''),
      };
      const { status: patched } = await stage().client.request('PATCH', `${path()}/status`, {
        body: { status: { conditions: [heartbeat] } },
        contentType: patchTypes.strategic,
      });
      expect(patched).to.equal(200);
      expect((await cordon()).status).to.equal(200);
      expect((await release()).status).to.equal(200);
      expect(await isCordoned()).to.equal(false);
    });

    it('fail for a node that was re-created under the same name', async () => {
      const former = node;
      const { name, labels = {} } = node.metadata;
      await stage().client.delete(path());
      node = await stage().client.post<Node>('/api/v1/nodes', { metadata: { name, labels } });
      const answer = await apply({
        metadata: { name, uid: former.metadata.uid },
        spec: { unschedulable: true },
      });
      expectStatus(answer, {
        status: 422,
        reason: 'Invalid',
        message: /metadata\.uid: Invalid value: ".*": field is immutable/,
        details: { name, kind: 'Node' },
      });
      expect(await isCordoned()).to.equal(false);
    });

    it('fail for a node that is gone, and create none', async () => {
      await stage().client.delete(path());
      const { name, uid } = node.metadata;
      expectStatus(await cordon(), {
        status: 409,
        reason: 'Conflict',
        message: `Operation cannot be fulfilled on nodes "${name}": uid mismatch: the provided object specified uid ${uid}, and no existing object was found`,
      });
      expect((await stage().client.request('GET', path())).status).to.equal(404);
    });

    it('create a Node object for a node that is gone if the uid is left out', async () => {
      await stage().client.delete(path());
      const { status } = await apply({
        metadata: { name: node.metadata.name },
        spec: { unschedulable: true },
      });
      expect(status).to.equal(201);
      await stage().client.delete(path());
    });

    it('conflict with another manager that applied the opposite, unless forced', async () => {
      const opposite = { metadata: identity(), spec: { unschedulable: false } };
      const { status, body } = await apply(opposite, 'fieldManager=other');
      expect(status).to.equal(200);
      expect(body.spec).not.to.have.property('unschedulable');
      const conflict = await cordon(`fieldManager=${ours}`);
      expectStatus(conflict, {
        status: 409,
        reason: 'Conflict',
        message: 'Apply failed with 1 conflict: conflict with "other": .spec.unschedulable',
      });
      expect(conflict.body).to.deep.nested.include({
        'details.causes': [
          { reason: 'FieldManagerConflict', message: 'conflict with "other"', field: '.spec.unschedulable' },
        ],
      });
      expect((await cordon()).status).to.equal(200);
      expect(await isCordoned()).to.equal(true);
      expect(await owners()).to.deep.equal([`${ours} Apply`]);
    });

    it('do not take ownership of the same value from a person, forced or not', async () => {
      await personCordons(true);
      expect((await cordon(`fieldManager=${ours}`)).status).to.equal(200);
      expect((await cordon()).status).to.equal(200);
      expect(await owners()).to.deep.equal([`${ours} Apply`, 'kubectl Update']);
    });

    it('stay ours alone when a person cordons too, because that writes nothing', async () => {
      await cordon();
      expect((await personCordons(true)).status).to.equal(200);
      expect(await owners()).to.deep.equal([`${ours} Apply`]);
    });

    it('can return a partial object, with managed fields', async () => {
      const { status, body } = await cordon(undefined, partialMetadata);
      expect(status).to.equal(200);
      expect(body).to.include({ kind: 'PartialObjectMetadata' }).and.not.to.have.any.keys('spec', 'status');
      expect(body.metadata.uid).to.equal(node.metadata.uid);
      expect(body.metadata.managedFields?.map(({ manager }) => manager)).to.include(ours);
    });

    it('are found by the field selector at once, and not after the release', async () => {
      const query = new URLSearchParams({
        fieldSelector: `metadata.name=${node.metadata.name},spec.unschedulable!=true`,
      });
      const schedulable = async (): Promise<number> =>
        (await stage().client.get<{ items: unknown[] | null }>(`/api/v1/nodes?${query.toString()}`)).items
          ?.length ?? 0;
      expect(await schedulable()).to.equal(1);
      await cordon();
      expect(await schedulable()).to.equal(0);
      await release();
      expect(await schedulable()).to.equal(1);
    });

    it('add a taint, and the release removes it', async function () {
      if (!stage().can.runJobSets) this.skip();
      const { advance } = stage();
      const taint = 'node.kubernetes.io/unschedulable';
      await cordon();
      await eventually('the taint is there', async () => (await taints()).includes(taint), { advance });
      await release();
      await eventually('the taint is gone', async () => !(await taints()).includes(taint), { advance });
    });

    const refused = [
      {
        title: 'without a field manager',
        query: 'force=true',
        body: {},
        status: 422,
        reason: 'Invalid',
        message: /fieldManager: Required value: is required for apply patch$/,
      },
      {
        title: 'with managed fields',
        query: 'fieldManager=x',
        body: { managedFields: [] },
        status: 400,
        reason: 'BadRequest',
        message: 'metadata.managedFields must be nil',
      },
      {
        title: 'with an old resource version',
        query: 'fieldManager=x',
        body: { resourceVersion: '1' },
        status: 409,
        reason: 'Conflict',
        message: /: the object has been modified; /,
      },
      {
        title: 'with another name than the path has',
        query: 'fieldManager=x',
        body: { name: 'other' },
        status: 400,
        reason: 'BadRequest',
        message: /^the name of the object \(other\) does not match the name on the URL /,
      },
    ];
    for (const { title, query, body, status, reason, message } of refused) {
      it(`fail for an apply ${title}`, async () => {
        expectStatus(await apply({ metadata: { ...identity(), ...body } }, query), {
          status,
          reason,
          message,
        });
      });
    }
  });
}
