import { expect } from 'chai';
import { parseAllDocuments } from 'yaml';
import { createRepaired, cronJobName, endTest } from '../fixtures/acceptance.ts';
import { onEmulatedGke } from './emulated-gke.ts';
import { needs, run } from './run.ts';

const email = 'autometric-failover@my-project.iam.gserviceaccount.com';
const uniqueId = '100000000000000000001';

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  roleRef?: { kind: string; name: string };
  subjects?: { kind: string; name: unknown }[];
}

const renderers: [name: string, render: () => ReturnType<typeof run>][] = [
  ['the example overlay', () => run('kubectl', ['kustomize', 'deploy/rbac/overlays/example'])],
  [
    'rbac.sh',
    () =>
      run('deploy/rbac.sh', ['--email', email, '--unique-id', uniqueId, '--namespaces', 'default,research']),
  ],
];

for (const [name, render] of renderers) {
  describe(`RBAC of ${name}`, function () {
    this.timeout(60_000);
    let manifests: Manifest[];
    before(async function () {
      needs(this, 'kubectl');
      const { code, stdout, stderr } = await render();
      expect(code, stderr).to.equal(0);
      manifests = toManifests(stdout);
    });

    it('binds the service account by its e-mail and by its unique id, as strings', () => {
      const bindings = manifests.filter(({ subjects }) => subjects);
      expect(bindings).to.have.lengthOf(5);
      for (const { metadata, subjects } of bindings) {
        expect(subjects, metadata.name).to.deep.equal([
          { apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: email },
          { apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: uniqueId },
        ]);
      }
    });

    it('binds every role, in its own namespace', () => {
      const named = ({ kind, name }: { kind: string; name: string }, namespace?: string) =>
        `${kind} ${namespace}/${name}`;
      const roles = manifests.filter(({ rules }) => rules);
      const bound = manifests.flatMap(({ roleRef, metadata }) =>
        roleRef ? [named(roleRef, metadata.namespace)] : [],
      );
      expect(bound).to.have.members(
        roles.map(({ kind, metadata }) => named({ kind, name: metadata.name }, metadata.namespace)),
      );
    });

    it('has the namespace of the Leases and, without a spec, the Lease that people annotate', () => {
      const lease = manifests.find(({ kind }) => kind === 'Lease');
      const namespaces = manifests
        .filter(({ kind }) => kind === 'Namespace')
        .map(({ metadata }) => metadata.name);
      expect(namespaces).to.deep.equal(['autometric-failover-system']);
      expect(lease?.metadata).to.deep.include({ name: 'cluster', namespace: 'autometric-failover-system' });
      expect(lease).not.to.have.property('spec');
    });

    it('grants cluster-wide only nodes, and no wildcard, secret or escalation', () => {
      const clusterWide = manifests
        .filter(({ kind }) => kind === 'ClusterRole')
        .flatMap(({ rules = [] }) => rules);
      expect(clusterWide).to.deep.equal([
        { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'patch'] },
      ]);
      expect(JSON.stringify(manifests)).not.to.match(
        /"\*"|"secrets"|"bind"|"escalate"|"impersonate"|system:/,
      );
    });

    it('prints no object that only kustomize needs', () => {
      expect(manifests.filter(({ kind }) => kind === 'ConfigMap')).to.have.lengthOf(0);
    });
  });
}

describe('rbac.sh', () => {
  const refusals: [what: string, args: string[], message: RegExp][] = [
    ['no e-mail', ['--unique-id', '1'], /--email must be/],
    [
      'an e-mail that would break out of its quotes',
      ['--email', "a@b'\nx: y", '--unique-id', '1'],
      /--email must be/,
    ],
    ['a name for the unique id', ['--email', 'a@b', '--unique-id', 'a'], /--unique-id must be/],
    [
      'a namespace that is a path',
      ['--email', 'a@b', '--unique-id', '1', '--namespaces', 'default,../x'],
      /"..\/x" is not/,
    ],
    ['no namespace', ['--email', 'a@b', '--unique-id', '1', '--namespaces', ''], /"" is not the name/],
  ];
  for (const [what, args, message] of refusals) {
    it(`refuses ${what}`, async function () {
      needs(this, 'kubectl');
      const { code, stdout, stderr } = await run('deploy/rbac.sh', args);
      expect(code).to.equal(1);
      expect(stderr).to.match(message);
      expect(stdout).to.equal('');
    });
  }
});

/** Actions that together send each kind of request, except those that only a rare fault causes. */
const actions = [
  // The first one to be done, where nothing was swept before: it sweeps.
  { id: 'first', type: 'uncordon_nodepool', node_pool: 'slice-b' },
  { id: 'rehearsal', type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train', dry_run: true },
  { id: 'restart', type: 'cordon_nodepool_and_restart_jobset', jobset_name: 'train', node_pool: 'slice-a' },
  { id: 'repair', type: 'cordon_and_repair_nodepool', node_pool: 'slice-a' },
  { id: 'limited', type: 'repair_nodepool', node_pool: 'slice-a' },
  { id: 'uncordon', type: 'uncordon_nodepool', node_pool: 'slice-a' },
];

describe('RBAC and the function', function () {
  this.timeout(60_000);
  let allowed: Set<string>;
  let sent: string[];
  before(async function () {
    needs(this, 'kubectl');
    const { stdout } = await run('deploy/rbac.sh', ['--email', email, '--unique-id', uniqueId]);
    allowed = toGrants(toManifests(stdout));
    sent = await requestsOf(actions);
  });

  it('allows each request of the function, in the namespace where it sends it', () => {
    expect(sent).to.have.lengthOf.at.least(10);
    expect(sent.filter((request) => !allowed.has(request))).to.deep.equal([]);
  });

  it('allows little more: only what faults and Jobs with retries need', () => {
    // Another suite takes each rule away on a real control plane and shows what breaks.
    const rare = ['patch jobs.batch default', 'delete jobs.batch default'];
    expect([...allowed].filter((grant) => !sent.includes(grant))).to.have.members(rare);
  });
});

describe('RBAC of tests that are CronJobs', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'kubectl');
  });

  const render = async (...more: string[]) => {
    const { code, stdout, stderr } = await run('deploy/rbac.sh', [
      '--email',
      email,
      '--unique-id',
      uniqueId,
      ...more,
    ]);
    expect(code, stderr).to.equal(0);
    return toManifests(stdout);
  };

  it("is given only where it is asked for, in the function's own namespace", async () => {
    const without = toGrants(await render());
    const added = [...toGrants(await render('--acceptance'))].filter((grant) => !without.has(grant));
    expect(added).to.have.members([
      'get cronjobs.batch autometric-failover-system',
      'get jobs.batch autometric-failover-system',
      'create jobs.batch autometric-failover-system',
    ]);
  });

  it('binds the service account by its e-mail and by its unique id', async () => {
    const manifests = await render('--acceptance', '--namespaces', 'default');
    const binding = manifests.find(
      ({ kind, metadata }) => kind === 'RoleBinding' && metadata.name === 'autometric-failover-acceptance',
    );
    expect(binding?.subjects?.map(({ name }) => name)).to.deep.equal([email, uniqueId]);
  });

  it('is what the function asks for while it tests a pool, and no more', async () => {
    const world = await createRepaired({ accept: cronJobName });
    world.emulator.requests.length = 0;
    await world.reconcile();
    await world.pass(60);
    await endTest(world, 'Succeeded');
    await world.reconcile();
    const sent = new Set(
      world.emulator.requests
        .filter(({ api }) => api === 'kubernetes')
        .map(({ method, path }) => toAccess(method, path)),
    );
    const allowed = toGrants(await render('--acceptance'));
    expect([...sent].filter((request) => !allowed.has(request))).to.deep.equal([]);
    const own = [...allowed].filter((grant) => / (cronjobs|jobs)\.batch autometric/.test(grant));
    expect(own.filter((grant) => !sent.has(grant))).to.deep.equal([]);
  });
});

/** What the function asks of Kubernetes for these actions, as `verb resource.group namespace`, each once. */
function requestsOf(bodies: object[]): Promise<string[]> {
  return onEmulatedGke(async ({ emulator, post }) => {
    for (const body of bodies) await post('/actions', { requestor: 'me', reason: 'ICI errors', ...body });
    const requests = emulator.requests.filter(({ api }) => api === 'kubernetes');
    return [...new Set(requests.map(({ method, path }) => toAccess(method, path)))];
  });
}

/** The access that Kubernetes' authorizer makes of a request. */
function toAccess(method: string, path: string): string {
  const match = /^\/(?:api\/v1|apis\/([^/]+)\/[^/]+)\/(?:namespaces\/([^/]+)\/)?([a-z]+)(\/[^/?]+)?/.exec(
    path,
  );
  if (!match) return `${method} ${path}`;
  const [, group, namespace = '', resource, name] = match;
  const verbs: Record<string, string> = {
    GET: name ? 'get' : 'list',
    POST: 'create',
    PUT: 'update',
    PATCH: 'patch',
    DELETE: 'delete',
  };
  return `${verbs[method]} ${resource}${group ? `.${group}` : ''} ${namespace}`;
}

function toGrants(manifests: Manifest[]): Set<string> {
  const grants = manifests.flatMap(({ rules = [], metadata }) =>
    rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => `${verb} ${resource}${group ? `.${group}` : ''} ${metadata.namespace ?? ''}`),
        ),
      ),
    ),
  );
  return new Set(grants);
}

function toManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}
