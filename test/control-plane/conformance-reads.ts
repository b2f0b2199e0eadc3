import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import type { KubernetesList, KubernetesObject, Node } from './kubernetes-client.ts';

const nodesPath = '/api/v1/nodes';
const partialMetadata = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const partialList = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const pool = 'cloud.google.com/gke-nodepool=conformance';

type List = KubernetesList<KubernetesObject>;

/** Reading: selectors, paging, partial objects. */
export function describeReads(stage: () => Stage): void {
  const list = async (query: Record<string, string>, path = nodesPath): Promise<List> =>
    stage().client.get<List>(`${path}?${new URLSearchParams(query).toString()}`);
  const names = ({ items }: List): string[] => (items ?? []).map(({ metadata }) => metadata.name);

  describe('selectors', () => {
    before(async () => {
      const [first, second, third] = stage().nodes;
      await stage().client.patch(`${nodesPath}/${first}`, { metadata: { labels: { colour: 'red' } } });
      await stage().client.patch(`${nodesPath}/${second}`, { metadata: { labels: { colour: 'blue' } } });
      await stage().client.patch(`${nodesPath}/${third}`, { metadata: { labels: { colour: '' } } });
      await stage().client.patch(`${nodesPath}/${first}`, { spec: { unschedulable: true } });
    });
    after(async () => {
      const [first, second, third] = stage().nodes;
      for (const name of [first, second, third]) {
        await stage().client.patch(`${nodesPath}/${name}`, { metadata: { labels: { colour: null } } });
      }
      await stage().client.patch(`${nodesPath}/${first}`, { spec: { unschedulable: null } });
    });

    const labels: { selector: string; matches: number[] }[] = [
      { selector: '', matches: [0, 1, 2, 3, 4, 5, 6, 7] },
      { selector: 'colour=red', matches: [0] },
      { selector: 'colour==red', matches: [0] },
      { selector: 'colour=', matches: [2] },
      { selector: 'colour!=red', matches: [1, 2, 3, 4, 5, 6, 7] },
      { selector: 'colour', matches: [0, 1, 2] },
      { selector: '!colour', matches: [3, 4, 5, 6, 7] },
      { selector: 'colour in (red,blue)', matches: [0, 1] },
      { selector: 'colour in (red, green)', matches: [0] },
      { selector: 'colour notin (red,blue)', matches: [2, 3, 4, 5, 6, 7] },
      { selector: 'colour,colour!=red', matches: [1, 2] },
      { selector: 'colour=red,colour=blue', matches: [] },
    ];
    for (const { selector, matches } of labels) {
      it(`finds by labels: ${selector || '(none)'}`, async () => {
        const found = await list({ labelSelector: [pool, selector].filter(Boolean).join(',') });
        expect(names(found)).to.deep.equal(matches.map((index) => stage().nodes[index]));
      });
    }

    const fields: { selector: string; matches: number[] }[] = [
      { selector: 'spec.unschedulable=true', matches: [0] },
      { selector: 'spec.unschedulable!=true', matches: [1, 2, 3, 4, 5, 6, 7] },
      { selector: 'spec.unschedulable=false', matches: [1, 2, 3, 4, 5, 6, 7] },
      { selector: 'spec.unschedulable==true', matches: [0] },
    ];
    for (const { selector, matches } of fields) {
      it(`finds by fields: ${selector}`, async () => {
        const found = await list({ labelSelector: pool, fieldSelector: selector });
        expect(names(found)).to.deep.equal(matches.map((index) => stage().nodes[index]));
      });
    }

    it('finds by name, alone and together with another field', async () => {
      const [first, second] = stage().nodes;
      expect(names(await list({ fieldSelector: `metadata.name=${second}` }))).to.deep.equal([second]);
      const both = `metadata.name=${second},spec.unschedulable=true`;
      expect(names(await list({ fieldSelector: both }))).to.deep.equal([]);
      expect(
        names(await list({ fieldSelector: `metadata.name=${first},spec.unschedulable=true` })),
      ).to.deep.equal([first]);
    });

    const refused = [
      { labelSelector: 'a b' },
      { labelSelector: 'a=b=c' },
      { labelSelector: 'a=b/c' },
      { fieldSelector: 'spec.providerID=x' },
      { fieldSelector: 'spec.unschedulable' },
    ];
    for (const query of refused) {
      it(`refuses ${JSON.stringify(query)}`, async () => {
        const answer = await stage().client.request(
          'GET',
          `${nodesPath}?${new URLSearchParams(query).toString()}`,
        );
        expectStatus(answer, { status: 400, reason: 'BadRequest' });
      });
    }
  });

  describe('paging', () => {
    it('returns each object once, and no token with the last page', async () => {
      const seen: string[] = [];
      const sizes: number[] = [];
      let token: string | undefined = '';
      while (token !== undefined) {
        const page: List = await list({ labelSelector: pool, limit: '3', ...(token && { continue: token }) });
        seen.push(...names(page));
        sizes.push(page.items?.length ?? 0);
        token = page.metadata.continue || undefined;
      }
      expect(seen).to.deep.equal(stage().nodes);
      expect(sizes).to.deep.equal([3, 3, 2]);
    });

    it('returns no token if the first page has everything', async () => {
      const page = await list({ labelSelector: pool, limit: '8' });
      expect(page.items).to.have.length(8);
      expect(page.metadata.continue ?? '').to.equal('');
    });

    it('returns the number of remaining items only without a selector', async () => {
      const all = await list({ limit: '3' });
      expect(all.metadata.remainingItemCount).to.be.at.least(5);
      const selected = await list({ limit: '3', labelSelector: pool });
      expect(selected.metadata).not.to.have.property('remainingItemCount');
      expect(selected.metadata.continue).to.be.a('string').and.not.to.equal('');
    });

    it('continues at the resource version at which it began', async () => {
      const first = await list({ labelSelector: pool, limit: '3' });
      await stage().client.patch(`${nodesPath}/${stage().nodes[7]}`, {
        metadata: { annotations: { paged: 'true' } },
      });
      const second = await list({ labelSelector: pool, limit: '3', continue: first.metadata.continue ?? '' });
      expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
    });

    it('refuses a token that it did not return', async () => {
      const answer = await stage().client.request('GET', `${nodesPath}?limit=3&continue=abc`);
      expectStatus(answer, { status: 400, reason: 'BadRequest' });
    });
  });

  describe('partial objects', () => {
    it('returns an object without spec and status', async () => {
      const [name] = stage().nodes;
      const partial = await stage().client.get(`${nodesPath}/${name}`, { accept: partialMetadata });
      const full = await stage().client.get<Node>(`${nodesPath}/${name}`);
      expect(Object.keys(partial)).to.have.members(['kind', 'apiVersion', 'metadata']);
      expect(partial).to.include({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' });
      expect(partial.metadata).to.deep.equal(full.metadata);
    });

    it('returns a list of them, selected by a field that they do not contain', async () => {
      const query = new URLSearchParams({ labelSelector: pool, fieldSelector: 'spec.unschedulable!=true' });
      const found = await stage().client.get<List>(`${nodesPath}?${query.toString()}`, {
        accept: partialList,
      });
      expect(found).to.include({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1' });
      expect(names(found)).to.deep.equal(stage().nodes);
      for (const item of found.items ?? []) {
        expect(item).to.include({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' });
        expect(item).not.to.have.any.keys('spec', 'status');
      }
    });

    it('returns them page by page', async () => {
      const query = new URLSearchParams({ labelSelector: pool, limit: '3' });
      const first = await stage().client.get<List>(`${nodesPath}?${query.toString()}`, {
        accept: partialList,
      });
      query.set('continue', first.metadata.continue ?? '');
      const second = await stage().client.get<List>(`${nodesPath}?${query.toString()}`, {
        accept: partialList,
      });
      expect([...names(first), ...names(second)]).to.deep.equal(stage().nodes.slice(0, 6));
    });

    it('returns the first of several representations in the Accept header', async () => {
      const accept = `${partialMetadata},application/json`;
      const { kind } = await stage().client.get(`${nodesPath}/${stage().nodes[0]}`, { accept });
      expect(kind).to.equal('PartialObjectMetadata');
    });

    it('returns no items, null or empty, if nothing is found', async () => {
      const found = await stage().client.get<List>(`${nodesPath}?labelSelector=none`, {
        accept: partialList,
      });
      expect(found.items ?? []).to.deep.equal([]);
    });

    it('refuses a list representation for an object, and the reverse', async () => {
      const one = await stage().client.request('GET', nodesPath, { accept: partialMetadata });
      expectStatus(one, { status: 406, reason: 'NotAcceptable' });
      const several = await stage().client.request('GET', `${nodesPath}/${stage().nodes[0]}`, {
        accept: partialList,
      });
      expectStatus(several, { status: 406, reason: 'NotAcceptable' });
    });
  });
}
