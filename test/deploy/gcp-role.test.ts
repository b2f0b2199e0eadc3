import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { parse } from 'yaml';
import { onEmulatedGke } from './emulated-gke.ts';
import { root } from './run.ts';

/** Calls of Google Cloud's APIs and the permission that each needs (Google's API and IAM references). */
const permissionOfCall: [api: string, method: string, path: RegExp, permission: string][] = [
  [
    'container',
    'GET',
    /^\/v1\/projects\/[^/]+\/locations\/[^/]+\/clusters\/[^/]+$/,
    'container.clusters.get',
  ],
  ['container', 'GET', /^\/v1\/projects\/[^/]+\/locations\/[^/]+\/operations$/, 'container.operations.list'],
  [
    'compute',
    'DELETE',
    /^\/compute\/v1\/projects\/[^/]+\/zones\/[^/]+\/instances\/[^/]+$/,
    'compute.instances.delete',
  ],
  [
    'compute',
    'GET',
    /^\/compute\/v1\/projects\/[^/]+\/zones\/[^/]+\/instances\/[^/]+$/,
    'compute.instances.get',
  ],
];

describe('gcp-role.yaml', function () {
  this.timeout(60_000);
  let role: Record<string, unknown>;
  before(async () => {
    role = parse(await readFile(join(root, 'gcp-role.yaml'), 'utf8')) as typeof role;
  });

  it('has only keys of an IAM role, because gcloud silently drops any other', () => {
    expect(Object.keys(role)).to.have.members(['title', 'description', 'stage', 'includedPermissions']);
    expect(role['stage']).to.equal('GA');
    expect(role['title']).to.have.lengthOf.at.most(100);
    expect(role['description']).to.have.lengthOf.at.most(256);
  });

  it("lists exactly the permissions that the function's calls need", async () => {
    const { calls, hasUsedDnsEndpoint } = await onEmulatedGke(async ({ emulator, cluster, google, post }) => {
      cluster.spec.allowsExternalDns = true;
      const repair = {
        type: 'cordon_and_repair_nodepool',
        node_pool: 'slice-a',
        requestor: 'me',
        reason: 'ICI errors',
      };
      const restart = { ...repair, type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train' };
      // An IAM condition on names may refuse the id, and then the name must be proved.
      emulator.faults.add({ api: 'compute', method: 'DELETE', effect: { status: 403 } });
      for (const action of [restart, repair, { ...repair, type: 'uncordon_nodepool' }]) {
        expect((await post('/actions', action)).status).to.equal(200);
      }
      return {
        calls: emulator.requests.filter(({ api }) => api === 'container' || api === 'compute'),
        hasUsedDnsEndpoint: google.connections(cluster).dns > 0,
      };
    });
    const needed = calls.map(({ api, method, path }) => {
      const [pathname = ''] = path.split('?');
      const known = permissionOfCall.find(
        ([a, m, pattern]) => a === api && m === method && pattern.test(pathname),
      );
      return known?.[3] ?? `unknown: ${method} ${path}`;
    });
    // The DNS endpoint requires it before RBAC.
    if (hasUsedDnsEndpoint) needed.push('container.clusters.connect');
    expect([...new Set(needed)]).to.have.members(role['includedPermissions'] as string[]);
  });
});

describe('gcp-role-condition.yaml', () => {
  let condition: Record<string, string>;
  before(async () => {
    condition = parse(
      await readFile(join(root, 'deploy/gcp-role-condition.yaml'), 'utf8'),
    ) as typeof condition;
  });

  it('has only keys that gcloud knows', () => {
    expect(Object.keys(condition)).to.have.members(['title', 'description', 'expression']);
  });

  const instance = 'compute.googleapis.com/Instance';
  const cases: [what: string, type: string, name: string, isAllowed: boolean][] = [
    ['a TPU machine', instance, 'projects/p/zones/us-central1-a/instances/gke-tpu-3f2a9c1d-00bc', true],
    ['a GPU machine', instance, 'projects/p/zones/us-central1-a/instances/gke-train-a3-6c1f0d2e-x7q1', true],
    ['a machine that is not of GKE', instance, 'projects/p/zones/us-central1-a/instances/postgres-1', false],
    ['a machine with a name like GKE', instance, 'projects/p/zones/us-central1-a/instances/gkeeper-1', false],
    ['a machine of GKE by another path', instance, 'projects/gke-p/zones/gke-z/instances/postgres-1', false],
    [
      'a machine by its number',
      instance,
      'projects/p/zones/us-central1-a/instances/9947402903883786101',
      false,
    ],
    [
      'a cluster',
      'container.googleapis.com/Cluster',
      'projects/p/locations/us-central1/clusters/train',
      true,
    ],
  ];
  for (const [what, type, name, isAllowed] of cases) {
    it(`${isAllowed ? 'lets through' : 'stops'} ${what}`, () => {
      expect(evaluate(condition['expression'] ?? '', type, name)).to.equal(isAllowed);
    });
  }
});

/** Evaluates an IAM condition of `resource.type`, `resource.name`, `extract` and `startsWith`: the same in CEL and in JavaScript. */
function evaluate(expression: string, type: string, name: string): unknown {
  const extract = (template: string) => {
    const [before = '', after = ''] = template.split(/\{\w+\}/);
    const [, rest] = name.split(before);
    return rest === undefined ? '' : after === '' ? rest : (rest.split(after)[0] ?? '');
  };
  return runInNewContext(expression, { resource: { type, name: { extract } } });
}
