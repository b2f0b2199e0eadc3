import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import { patchTypes } from './kubernetes-client.ts';
import type { Answer, Node, PatchType } from './kubernetes-client.ts';

const ours = 'autometric-failover-repair';
const ofCordons = 'autometric-failover';
const annotation = 'autometric-failover/repair';
const fault = 'cloud.google.com/fault-behavior';
const reboot = 'cloud.google.com/perform-reboot';

/** Who owns a label that asks GKE for a repair: our server-side apply, beside GKE and people who set it or take it away. */
export function describeRepairLabels(stage: () => Stage): void {
  let node: Node;

  const path = (): string => `/api/v1/nodes/${node.metadata.name}`;
  const patch = (
    manager: string,
    body: object,
    contentType: PatchType = patchTypes.apply,
  ): Promise<Answer<Node>> =>
    stage().client.request<Node>('PATCH', `${path()}?fieldManager=${manager}`, { body, contentType });
  const identity = (): object => ({ name: node.metadata.name, uid: node.metadata.uid });
  /** Without force: what somebody else asks for is left alone. */
  const ask = (id: string, labels: Record<string, string>): Promise<Answer<Node>> =>
    patch(ours, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { ...identity(), labels, annotations: { [annotation]: id } },
    });
  /** What a controller sends that writes labels without apply, and `kubectl label`. */
  const setLabels = (
    manager: string,
    labels: Record<string, string | null>,
    uid = {},
  ): Promise<Answer<Node>> => patch(manager, { metadata: { ...uid, labels } }, patchTypes.merge);
  const read = (): Promise<Node> => stage().client.get<Node>(path());
  const owners = async (label: string): Promise<string[]> =>
    ((await read()).metadata.managedFields ?? [])
      .filter(({ fieldsV1 }) => {
        const metadata = Object(fieldsV1['f:metadata']) as Record<string, object | undefined>;
        return `f:${label}` in Object(metadata['f:labels']);
      })
      .map(({ manager, operation }) => `${manager} ${operation}`)
      .sort();

  describe('labels that ask for a repair', () => {
    before(async () => {
      node = await stage().client.get<Node>(`/api/v1/nodes/${stage().nodes[6]}`);
    });
    /** A new Node for each test: the same name, another uid, nobody's fields. */
    beforeEach(async () => {
      await stage().world.replaceInstance(node.metadata.name, { newNode: true });
      node = await read();
    });

    it('are ours, and another manager may take them away; the annotation stays and tells that they were set', async () => {
      const { status, body } = await ask('id-1', { [fault]: 'XID' });
      expect(status).to.equal(200);
      expect(body.metadata.labels).to.include({ [fault]: 'XID' });
      expect(await owners(fault)).to.deep.equal([`${ours} Apply`]);
      expect((await setLabels('gke-node-repair', { [fault]: null })).status).to.equal(200);
      const after = await read();
      expect(after.metadata.labels).not.to.have.property(fault);
      expect(after.metadata.annotations).to.include({ [annotation]: 'id-1' });
      expect(await owners(fault)).to.deep.equal([]);
    });

    it('come back when we apply them once more, so the annotation must be asked first', async () => {
      await ask('id-1', { [fault]: 'XID' });
      await setLabels('gke-node-repair', { [fault]: null });
      expect((await ask('id-1', { [fault]: 'XID' })).body.metadata.labels).to.include({ [fault]: 'XID' });
    });

    it('stay while GKE writes its own labels beside them', async () => {
      await ask('id-1', { [fault]: 'XID' });
      const status = 'cloud.google.com/report-and-replace-status';
      expect((await setLabels('gke-node-repair', { [status]: 'PodsEvicted' })).status).to.equal(200);
      expect((await read()).metadata.labels).to.include({ [fault]: 'XID', [status]: 'PodsEvicted' });
      expect(await owners(status)).to.deep.equal(['gke-node-repair Update']);
      expect(await owners(fault)).to.deep.equal([`${ours} Apply`]);
    });

    it('conflict with another value that somebody has set, and change nothing', async () => {
      await setLabels('kubectl-label', { [fault]: 'SDC' });
      const refused = await ask('id-1', { [fault]: 'XID' });
      expectStatus(refused, {
        status: 409,
        reason: 'Conflict',
        message: `Apply failed with 1 conflict: conflict with "kubectl-label" using v1: .metadata.labels.${fault}`,
      });
      const { metadata } = await read();
      expect(metadata.labels).to.include({ [fault]: 'SDC' });
      expect(metadata.annotations ?? {}).not.to.have.property(annotation);
    });

    it('are shared where somebody has set the same value', async () => {
      await setLabels('kubectl-label', { [fault]: 'XID' });
      expect((await ask('id-1', { [fault]: 'XID' })).status).to.equal(200);
      expect(await owners(fault)).to.deep.equal([`${ours} Apply`, 'kubectl-label Update']);
    });

    it('are taken away by our own apply of another label, unless somebody else owns them, too', async () => {
      await ask('id-1', { [reboot]: 'true' });
      await ask('id-2', { [fault]: 'XID' });
      expect((await read()).metadata.labels)
        .to.include({ [fault]: 'XID' })
        .and.not.have.property(reboot);
      await setLabels('kubectl-label', { [fault]: 'SDC' });
      await ask('id-3', { [reboot]: 'true' });
      const { labels, annotations } = (await read()).metadata;
      expect(labels).to.include({ [fault]: 'SDC', [reboot]: 'true' });
      expect(annotations).to.include({ [annotation]: 'id-3' });
    });

    it('stay when a cordon is released, because its manager is another one', async () => {
      const cordon = (spec: object, annotations: object): Promise<Answer<Node>> =>
        patch(ofCordons, {
          apiVersion: 'v1',
          kind: 'Node',
          metadata: { ...identity(), ...annotations },
          ...spec,
        });
      const cordoned = { annotations: { 'autometric-failover/action': 'id-0' } };
      expect((await cordon({ spec: { unschedulable: true } }, cordoned)).status).to.equal(200);
      await ask('id-1', { [fault]: 'XID' });
      expect((await cordon({}, {})).status).to.equal(200);
      const { metadata, spec } = await read();
      expect(spec.unschedulable ?? false).to.equal(false);
      expect(metadata.labels).to.include({ [fault]: 'XID' });
      expect(metadata.annotations).to.include({ [annotation]: 'id-1' });
    });

    it('tell when they were set, by the time of their manager', async () => {
      const before = Date.now();
      await ask('id-1', { [reboot]: 'true' });
      const entry = (await read()).metadata.managedFields?.find(({ manager }) => manager === ours);
      const { time } = entry as unknown as { time: string };
      expect(time).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      // The emulator's clock stands still between tests, and a real one may be a little off.
      expect(Math.abs(Date.parse(time) - before)).to.be.lessThan(3_600_000);
    });

    it('are taken away by a merge patch with the uid, whoever set them', async () => {
      await ask('id-1', { [reboot]: 'true' });
      await setLabels('kubectl-label', { [reboot]: 'true' });
      const { uid } = node.metadata;
      expect((await setLabels(ours, { [reboot]: null }, { uid })).status).to.equal(200);
      expect((await read()).metadata.labels).not.to.have.property(reboot);
      expect(await owners(reboot)).to.deep.equal([]);
    });

    it('are not taken from a node that was re-created under its name', async () => {
      const { uid } = node.metadata;
      await stage().world.replaceInstance(node.metadata.name, { newNode: true });
      await setLabels('kubectl-label', { [reboot]: 'true' });
      const { status } = await setLabels(ours, { [reboot]: null }, { uid });
      expect(status).to.be.oneOf([409, 422]);
      expect((await read()).metadata.labels).to.include({ [reboot]: 'true' });
    });
  });
}
