import { describeFaults } from './fixtures/fault-table.ts';
import type { FaultedCall } from './fixtures/fault-table.ts';
import { ServedWorlds } from './fixtures/served-worlds.ts';

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
    isBodyLogged: true,
    only: [
      'connection refused',
      'reset before it was carried out',
      'no answer',
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
    title: 'cordon: the third of four nodes',
    action: 'repair',
    isTimed: false,
    request: { method: 'PATCH', path: /\/nodes\//, skip: 2 },
    before: { cordons: 2 },
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
      'a body that is another object': 'believed',
    },
  },
];

describe('a fault over sockets', () => {
  const worlds = new ServedWorlds();
  before(() => worlds.open());
  after(() => worlds.close());

  for (const row of rows) describeFaults(row, (options) => worlds.create(options));
});
