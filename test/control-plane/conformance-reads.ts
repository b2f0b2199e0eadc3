import { expect } from 'chai';
import type { Stage } from './conformance.ts';
import { expectStatus } from './expect-status.ts';
import { createKubernetesClient } from './kubernetes-client.ts';
import type { KubernetesList, KubernetesObject, Node } from './kubernetes-client.ts';

const NODES = '/api/v1/nodes';
const PARTIAL = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const PARTIAL_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const POOL = 'cloud.google.com/gke-nodepool=conformance';

type List = KubernetesList<KubernetesObject>;

/** Reading: selectors, paging, partial objects, and how what cannot be read is refused. */
export function describeReads(stage: () => Stage): void {
  const list = async (query: Record<string, string>, path = NODES): Promise<List> =>
    stage().client.get<List>(`${path}?${new URLSearchParams(query).toString()}`);
  const names = ({ items }: List): string[] => (items ?? []).map(({ metadata }) => metadata.name);

  describe('selectors', () => {
    before(async () => {
      const [first, second, third] = stage().nodes;
      await stage().client.patch(`${NODES}/${first}`, { metadata: { labels: { colour: 'red' } } });
      await stage().client.patch(`${NODES}/${second}`, { metadata: { labels: { colour: 'blue' } } });
      await stage().client.patch(`${NODES}/${third}`, { metadata: { labels: { colour: '' } } });
      await stage().client.patch(`${NODES}/${first}`, { spec: { unschedulable: true } });
    });
    after(async () => {
      const [first, second, third] = stage().nodes;
      for (const name of [first, second, third])
        await stage().client.patch(`${NODES}/${name}`, { metadata: { labels: { colour: null } } });
      await stage().client.patch(`${NODES}/${first}`, { spec: { unschedulable: null } });
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
    for (const { selector, matches } of labels)
      it(`finds by labels: ${selector || '(none)'}`, async () => {
        const found = await list({ labelSelector: [POOL, selector].filter(Boolean).join(',') });
        expect(names(found)).to.deep.equal(matches.map((index) => stage().nodes[index]));
      });

    const fields: { selector: string; matches: number[] }[] = [
      { selector: 'spec.unschedulable=true', matches: [0] },
      { selector: 'spec.unschedulable!=true', matches: [1, 2, 3, 4, 5, 6, 7] },
      { selector: 'spec.unschedulable=false', matches: [1, 2, 3, 4, 5, 6, 7] },
      { selector: 'spec.unschedulable==true', matches: [0] },
    ];
    for (const { selector, matches } of fields)
      it(`finds by fields: ${selector}`, async () => {
        const found = await list({ labelSelector: POOL, fieldSelector: selector });
        expect(names(found)).to.deep.equal(matches.map((index) => stage().nodes[index]));
      });

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
    for (const query of refused)
      it(`refuses ${JSON.stringify(query)}`, async () => {
        const answer = await stage().client.request(
          'GET',
          `${NODES}?${new URLSearchParams(query).toString()}`,
        );
        expectStatus(answer, { status: 400, reason: 'BadRequest' });
      });
  });

  describe('paging', () => {
    it('hands out every object once, and no token with the last page', async () => {
      const seen: string[] = [];
      const sizes: number[] = [];
      let token: string | undefined = '';
      while (token !== undefined) {
        const page: List = await list({ labelSelector: POOL, limit: '3', ...(token && { continue: token }) });
        seen.push(...names(page));
        sizes.push(page.items?.length ?? 0);
        token = page.metadata.continue || undefined;
      }
      expect(seen).to.deep.equal(stage().nodes);
      expect(sizes).to.deep.equal([3, 3, 2]);
    });

    it('gives no token where the first page holds everything', async () => {
      const page = await list({ labelSelector: POOL, limit: '8' });
      expect(page.items).to.have.length(8);
      expect(page.metadata.continue ?? '').to.equal('');
    });

    it('counts what remains only where nothing is selected', async () => {
      const all = await list({ limit: '3' });
      expect(all.metadata.remainingItemCount).to.be.at.least(5);
      const selected = await list({ limit: '3', labelSelector: POOL });
      expect(selected.metadata).not.to.have.property('remainingItemCount');
      expect(selected.metadata.continue).to.be.a('string').and.not.to.equal('');
    });

    it('goes on at the resource version at which it began', async () => {
      const first = await list({ labelSelector: POOL, limit: '3' });
      await stage().client.patch(`${NODES}/${stage().nodes[7]}`, {
        metadata: { annotations: { paged: 'true' } },
      });
      const second = await list({ labelSelector: POOL, limit: '3', continue: first.metadata.continue ?? '' });
      expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion);
    });

    it('refuses a token that it did not hand out', async () => {
      const answer = await stage().client.request('GET', `${NODES}?limit=3&continue=abc`);
      expectStatus(answer, { status: 400, reason: 'BadRequest' });
    });
  });

  describe('partial objects', () => {
    it('answers one without spec and status', async () => {
      const [name] = stage().nodes;
      const partial = await stage().client.get(`${NODES}/${name}`, { accept: PARTIAL });
      const full = await stage().client.get<Node>(`${NODES}/${name}`);
      expect(Object.keys(partial)).to.have.members(['kind', 'apiVersion', 'metadata']);
      expect(partial).to.include({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' });
      expect(partial.metadata).to.deep.equal(full.metadata);
    });

    it('answers a list of them, selected by a field that is not in them', async () => {
      const query = new URLSearchParams({ labelSelector: POOL, fieldSelector: 'spec.unschedulable!=true' });
      const found = await stage().client.get<List>(`${NODES}?${query.toString()}`, { accept: PARTIAL_LIST });
      expect(found).to.include({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1' });
      expect(names(found)).to.deep.equal(stage().nodes);
      for (const item of found.items ?? []) {
        expect(item).to.include({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' });
        expect(item).not.to.have.any.keys('spec', 'status');
      }
    });

    it('pages them', async () => {
      const query = new URLSearchParams({ labelSelector: POOL, limit: '3' });
      const first = await stage().client.get<List>(`${NODES}?${query.toString()}`, { accept: PARTIAL_LIST });
      query.set('continue', first.metadata.continue ?? '');
      const second = await stage().client.get<List>(`${NODES}?${query.toString()}`, { accept: PARTIAL_LIST });
      expect([...names(first), ...names(second)]).to.deep.equal(stage().nodes.slice(0, 6));
    });

    it('answers the first of several representations that are asked for', async () => {
      const accept = `${PARTIAL},application/json`;
      const { kind } = await stage().client.get(`${NODES}/${stage().nodes[0]}`, { accept });
      expect(kind).to.equal('PartialObjectMetadata');
    });

    it('answers no items, null or empty, where nothing is found', async () => {
      const found = await stage().client.get<List>(`${NODES}?labelSelector=none`, { accept: PARTIAL_LIST });
      expect(found.items ?? []).to.deep.equal([]);
    });

    it('refuses the wrong one of object and list', async () => {
      const one = await stage().client.request('GET', NODES, { accept: PARTIAL });
      expectStatus(one, { status: 406, reason: 'NotAcceptable' });
      const several = await stage().client.request('GET', `${NODES}/${stage().nodes[0]}`, {
        accept: PARTIAL_LIST,
      });
      expectStatus(several, { status: 406, reason: 'NotAcceptable' });
    });
  });

  describe('what is not there', () => {
    it('answers a Status that names the object', async () => {
      expectStatus(await stage().client.request('GET', `${NODES}/none`), {
        status: 404,
        reason: 'NotFound',
        message: 'nodes "none" not found',
        details: { name: 'none', kind: 'nodes' },
      });
    });

    it('answers a Status with the group for kinds that have one', async () => {
      const path = '/apis/coordination.k8s.io/v1/namespaces/default/leases/none';
      expectStatus(await stage().client.request('GET', path), {
        status: 404,
        reason: 'NotFound',
        message: 'leases.coordination.k8s.io "none" not found',
        details: { name: 'none', group: 'coordination.k8s.io', kind: 'leases' },
      });
    });

    it('does not say of an object that its namespace is missing', async () => {
      expectStatus(await stage().client.request('GET', '/api/v1/namespaces/nowhere/pods/none'), {
        status: 404,
        reason: 'NotFound',
        message: 'pods "none" not found',
        details: { name: 'none', kind: 'pods' },
      });
    });

    it('lists nothing in a namespace that does not exist', async () => {
      expect(names(await list({}, '/api/v1/namespaces/nowhere/pods'))).to.deep.equal([]);
    });

    it('answers a Status without a name for a kind that is not served', async () => {
      expectStatus(await stage().client.request('GET', '/api/v1/nothings'), {
        status: 404,
        reason: 'NotFound',
        message: 'the server could not find the requested resource',
      });
    });

    it('answers plain text for a group and a path that are not served', async () => {
      for (const path of ['/apis/none.example/v1/things', '/nowhere']) {
        const { status, text, headers } = await stage().client.request('GET', path);
        expect({ status, text: text.trim() }).to.deep.equal({ status: 404, text: '404 page not found' });
        expect(headers['content-type']).to.match(/^text\/plain/);
      }
    });

    it('refuses a method that a path does not have', async () => {
      const answer = await stage().client.request('POST', `${NODES}/${stage().nodes[0]}`, { body: {} });
      expectStatus(answer, {
        status: 405,
        reason: 'MethodNotAllowed',
        message: 'the server does not allow this method on the requested resource',
      });
    });
  });

  describe('headers and users', () => {
    it('dates every answer, good or bad, in whole seconds', async () => {
      const client = stage().client;
      const answers = [
        await client.request('GET', NODES),
        await client.request('GET', `${NODES}/none`),
        await client.request('GET', '/nowhere'),
        await client.request('PATCH', `${NODES}/${stage().nodes[0]}`, {
          body: {},
          contentType: 'text/plain',
        }),
      ];
      for (const { headers } of answers)
        expect(headers['date']).to.match(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
    });

    it('answers 401 to a token that nobody knows', async () => {
      const client = createKubernetesClient({ url: stage().url, ca: stage().ca, token: 'unknown' });
      const answer = await client.request('GET', NODES);
      await client.close();
      expectStatus(answer, { status: 401, reason: 'Unauthorized', message: 'Unauthorized' });
    });

    it('takes a request without a token for anonymous, who may do nothing', async () => {
      const client = createKubernetesClient({ url: stage().url, ca: stage().ca });
      const answer = await client.request('GET', NODES);
      await client.close();
      expectStatus(answer, {
        status: 403,
        reason: 'Forbidden',
        message:
          'nodes is forbidden: User "system:anonymous" cannot list resource "nodes" in API group "" at the cluster scope',
      });
    });

    const forbidden = [
      {
        method: 'GET',
        path: NODES,
        message:
          'nodes is forbidden: User "USER" cannot list resource "nodes" in API group "" at the cluster scope',
      },
      {
        method: 'PATCH',
        path: `${NODES}/x`,
        message:
          'nodes "x" is forbidden: User "USER" cannot patch resource "nodes" in API group "" at the cluster scope',
      },
      {
        method: 'DELETE',
        path: '/api/v1/namespaces/default/pods/x',
        message:
          'pods "x" is forbidden: User "USER" cannot delete resource "pods" in API group "" in the namespace "default"',
      },
      {
        method: 'PUT',
        path: '/apis/coordination.k8s.io/v1/namespaces/default/leases/x',
        message:
          'leases.coordination.k8s.io "x" is forbidden: User "USER" cannot update resource "leases" in API group "coordination.k8s.io" in the namespace "default"',
      },
      {
        method: 'POST',
        path: '/api/v1/namespaces/default/events',
        message:
          'events is forbidden: User "USER" cannot create resource "events" in API group "" in the namespace "default"',
      },
    ] as const;
    for (const { method, path, message } of forbidden)
      it(`says what a user may not do: ${method} ${path}`, async function () {
        const { strangersToken, url, ca } = stage();
        if (strangersToken === undefined) this.skip();
        const client = createKubernetesClient({ url, ca, token: strangersToken.token });
        const body =
          method === 'GET'
            ? {}
            : {
                body: {},
                contentType: method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
              };
        const answer = await client.request(method, path, body);
        await client.close();
        expectStatus(answer, {
          status: 403,
          reason: 'Forbidden',
          message: message.replace('USER', strangersToken.user),
        });
      });
  });
}
