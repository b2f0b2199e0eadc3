import { expect } from 'chai';
import { createCertificateAuthority } from '../control-plane/certificates.ts';
import { describeFaults } from '../fixtures/fault-table.ts';
import type { FaultedCall } from '../fixtures/faulted-call.ts';
import { ServedWorlds } from '../fixtures/served-worlds.ts';

/** The calls of Google's own clients, and one of ours, over sockets. */
const rows: FaultedCall[] = [
  {
    title: 'connect: ask the Container API where the cluster is',
    action: 'repair',
    isTimed: false,
    request: { api: 'container', method: 'GET' },
    outcomes: { 'status 404': 'target_not_found', 'a body that is another object': 'stops' },
  },
  {
    title: 'connect: ask the metadata server for a token',
    action: 'repair',
    isTimed: false,
    request: { api: 'metadata', method: 'GET', path: /\/token/ },
    only: [
      'connection refused',
      'reset before it was carried out',
      'status 401',
      'status 403',
      'status 404',
      'status 409',
      'status 429',
      'status 429 with Retry-After',
      'status 500',
      'status 500 with Retry-After',
      'a body that is no JSON',
    ],
  },
  {
    // F-250: it must not hold the repair up, nor stop it.
    title: 'read: ask the Container API which operations of GKE are under way',
    action: 'repair',
    isTimed: false,
    request: { api: 'container', method: 'GET', path: /\/operations\b/ },
    always: 'harmless',
    // By turns of the event loop, an undisturbed repair takes 4.1 s. A call that is not held to 3 s would take 10 s.
    holdsUpMs: 8_000,
  },
  {
    title: 'cordon: the third of four nodes',
    action: 'repair',
    isTimed: false,
    request: { method: 'PATCH', path: /\/nodes\//, skip: 2 },
    before: { cordons: 2 },
    once: ['status 429 with Retry-After', 'status 500 with Retry-After'],
    outcomes: { 'status 404': { lasting: 'upstream_failed' }, 'status 409': { lasting: 'upstream_failed' } },
  },
  {
    title: 'repair: delete the instance',
    action: 'repair',
    isTimed: false,
    request: { api: 'compute', method: 'DELETE' },
    before: { cordons: 4 },
    effect: 'repairs',
    only: [
      'reset after it was carried out',
      'no answer, carried out',
      'status 401',
      'status 403',
      'status 404',
      'status 409',
      'status 429',
      'status 500',
      'a body that is no JSON',
      'a body that is another object',
    ],
    outcomes: {
      // A condition on names may refuse an id; then it is tried by its name.
      'status 403': { lasting: 'upstream_failed' },
      'status 404': 'believed',
    },
  },
];

describe('a fault over sockets', () => {
  const worlds = new ServedWorlds();
  before(() => worlds.open());
  after(() => worlds.close());

  for (const row of rows) describeFaults(row, (options) => worlds.create(options));
});

describe('a metadata server that never answers', () => {
  const worlds = new ServedWorlds();
  after(() => worlds.close());

  it('stops the action in time, and the action resumes when it answers', async () => {
    const world = await worlds.create({ action: 'repair' });
    const lift = world.emulator.faults.add({
      api: 'metadata',
      path: /token/,
      times: Infinity,
      effect: 'hang',
    });
    const answer = await world.send();
    // Its own time-out is near ours, and the Container API's client waits for the same token.
    expect(answer.body.code).to.be.oneOf(['upstream_failed', 'upstream_timeout']);
    expect(answer.body.error).to.match(/^the metadata server .* \(GET token\)/);
    expect(answer.tookMs).to.be.below(100_000);
    lift();
    expect(await world.send()).to.have.property('status', 200);
  });
});

describe('an API server that cannot be reached', () => {
  const worlds = new ServedWorlds();
  after(() => worlds.close());

  const unreachable = {
    'has nobody listening': { ip: '127.0.0.1:1' },
    'has another certificate': { ca: createCertificateAuthority('another').certificate },
  };
  for (const [what, endpoint] of Object.entries(unreachable)) {
    it(`is named when it ${what}, and is reached as soon as that is fixed`, async () => {
      const world = await worlds.create({ action: 'repair' });
      const { endpoints } = world.cluster;
      const right = { ...endpoints };
      Object.assign(endpoints, endpoint);
      const answer = await world.send();
      expect(answer).to.have.property('status', 502);
      expect(answer.body).to.include({ code: 'upstream_failed' });
      expect(answer.body.error).to.match(
        /^the Kubernetes API could not be reached.* \(GET \/apis\/coordination/,
      );

      Object.assign(endpoints, right);
      expect(await world.send()).to.have.property('status', 200);
      expect(world.effects()).to.include({ uncordoned: 0, repairs: 1 });
    });
  }
});
