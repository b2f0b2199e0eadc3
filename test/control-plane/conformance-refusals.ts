import { expect } from 'chai';
import type { Stage } from './conformance-target.ts';
import { expectStatus } from './expect-status.ts';
import { createKubernetesClient } from './kubernetes-client.ts';
import type { KubernetesList, Pod } from './kubernetes-client.ts';

const nodesPath = '/api/v1/nodes';

/** What does not exist, what is forbidden, and which users the server knows. */
export function describeRefusals(stage: () => Stage): void {
  describe('an object or path that does not exist', () => {
    it('gets a Status that names the object', async () => {
      expectStatus(await stage().client.request('GET', `${nodesPath}/none`), {
        status: 404,
        reason: 'NotFound',
        message: 'nodes "none" not found',
        details: { name: 'none', kind: 'nodes' },
      });
    });

    it('gets a Status with the API group, if the kind has one', async () => {
      const path = '/apis/coordination.k8s.io/v1/namespaces/default/leases/none';
      expectStatus(await stage().client.request('GET', path), {
        status: 404,
        reason: 'NotFound',
        message: 'leases.coordination.k8s.io "none" not found',
        details: { name: 'none', group: 'coordination.k8s.io', kind: 'leases' },
      });
    });

    it('gets a Status about the object, also if its namespace is missing', async () => {
      expectStatus(await stage().client.request('GET', '/api/v1/namespaces/nowhere/pods/none'), {
        status: 404,
        reason: 'NotFound',
        message: 'pods "none" not found',
        details: { name: 'none', kind: 'pods' },
      });
    });

    it('gets an empty list in a namespace that does not exist', async () => {
      const { items } = await stage().client.get<KubernetesList<Pod>>('/api/v1/namespaces/nowhere/pods');
      expect(items).to.deep.equal([]);
    });

    it('gets a Status without a name for a kind that is not served', async () => {
      expectStatus(await stage().client.request('GET', '/api/v1/nothings'), {
        status: 404,
        reason: 'NotFound',
        message: 'the server could not find the requested resource',
      });
    });

    it('gets plain text for a group or a path that is not served', async () => {
      for (const path of ['/apis/none.example/v1/things', '/nowhere']) {
        const { status, text, headers } = await stage().client.request('GET', path);
        expect({ status, text: text.trim() }).to.deep.equal({ status: 404, text: '404 page not found' });
        expect(headers['content-type']).to.match(/^text\/plain/);
      }
    });

    it('gets 405 for a method that the path does not have', async () => {
      const answer = await stage().client.request('POST', `${nodesPath}/${stage().nodes[0]}`, { body: {} });
      expectStatus(answer, {
        status: 405,
        reason: 'MethodNotAllowed',
        message: 'the server does not allow this method on the requested resource',
      });
    });
  });

  describe('headers and users', () => {
    it('have a Date in each response, in whole seconds', async () => {
      const client = stage().client;
      const answers = [
        await client.request('GET', nodesPath),
        await client.request('GET', `${nodesPath}/none`),
        await client.request('GET', '/nowhere'),
        await client.request('PATCH', `${nodesPath}/${stage().nodes[0]}`, {
          body: {},
          contentType: 'text/plain',
        }),
      ];
      for (const { headers } of answers) {
        expect(headers['date']).to.match(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
      }
    });

    it('get 401 for an unknown token', async () => {
      const client = createKubernetesClient({ url: stage().url, ca: stage().ca, token: 'unknown' });
      const answer = await client.request('GET', nodesPath);
      await client.close();
      expectStatus(answer, { status: 401, reason: 'Unauthorized', message: 'Unauthorized' });
    });

    it('count as anonymous without a token, and anonymous may do nothing', async () => {
      const client = createKubernetesClient({ url: stage().url, ca: stage().ca });
      const answer = await client.request('GET', nodesPath);
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
        path: nodesPath,
        message:
          'nodes is forbidden: User "USER" cannot list resource "nodes" in API group "" at the cluster scope',
      },
      {
        method: 'PATCH',
        path: `${nodesPath}/x`,
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
    for (const { method, path, message } of forbidden) {
      it(`get 403 that names the missing right: ${method} ${path}`, async function () {
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
    }
  });
}
