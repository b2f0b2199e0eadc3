import { expect } from 'chai';
import fc from 'fast-check';
import { toAlert } from '../../src/alert/alert.ts';
import { readAlert } from '../../src/alert/log-entry.ts';
import { isForAlerts, isPushEnvelope } from '../../src/alert/notification.ts';
import { readConfig } from '../../src/config.ts';
import { FailoverError } from '../../src/errors.ts';
import { toOperations, toPools } from '../../src/gke/gke-work-answer.ts';
import { isBeingDrained, isHealthy, rankByHealth } from '../../src/gke/node-health.ts';
import { toNodeHealth } from '../../src/gke/nodes.ts';
import { findRepairUnderWay, readReport, whyNotReportable } from '../../src/gke/repair-labels.ts';
import { toExpectedNodes } from '../../src/gke/slice.ts';
import { toShownMachine } from '../../src/gke/shown-machine.ts';
import { Ignored } from '../../src/ignored.ts';
import { parseAction, readId } from '../../src/request/action.ts';
import { parseRead, parseReadBody, readTypeOf } from '../../src/request/reads.ts';
import { countAttempts } from '../../src/state/attempts.ts';
import { isBudgetBroken, readRecentPools, readRefusedPools } from '../../src/state/budget.ts';
import { hasOwnMark, listMarks, listOwnEffects, toRepairs, withMark } from '../../src/state/cooldown.ts';
import { readLockState } from '../../src/state/pool-lease.ts';
import { toRecord } from '../../src/state/record-format.ts';
import { readLastUncordon } from '../../src/state/last-uncordon.ts';
import { readRestartMark, toRestarts } from '../../src/state/restart-mark.ts';
import { toSwitches } from '../../src/state/switches.ts';
import { describeLack } from '../../src/verify/machine.ts';
import { apply, damage } from '../fixtures/damage.ts';
import { createXidEntry, logRules } from '../fixtures/log-entry.ts';
import { createNotification, toPush } from '../fixtures/notification.ts';
import { trainCluster } from '../fixtures/train-world.ts';

// What anybody may send, or write into the cluster by hand, is parsed by these functions, and by no other. They may refuse, and
// may throw nothing else. They can write nothing: the linter keeps what writes away from them.

const runs = Number(process.env['FUZZ_RUNS'] ?? 4_000);
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2_147_483_647);
const now = Date.parse('2026-11-23T03:00:00Z');
const config = readConfig({ CLUSTERS: trainCluster, LOG_RULES: JSON.stringify(logRules) });
const { clusters } = config;

/** Words that mean something somewhere. */
const words = fc.constantFrom(
  'cordon_nodepool',
  'repair_nodepool',
  'true',
  'reboot',
  'slice-a',
  'default/train',
  '__proto__',
  'constructor',
  'toString',
  '2026-11-23T03:00:00Z',
  '-1',
  '1e999',
  '0x10',
  '',
  ' ',
  '\u0000',
  '\ud800',
  '%',
  '%00',
  '../..',
  'a'.repeat(300),
  'begun',
  'accepted',
  'done',
  '99',
  'null',
  '[]',
  '{}',
  '{',
  '"',
  '{"a":1}',
  '[{"action":"a"}]',
  trainCluster,
);
const text = fc.oneof({ weight: 3, arbitrary: words }, { weight: 1, arbitrary: fc.string() });
const damages = fc.array(damage, { maxLength: 3 });

const damaged = (whole: unknown) =>
  damages.map((all) => all.reduce<unknown>((value, each) => apply(value, each), whole));

const actionBody = fc
  .record(
    {
      type: fc.constantFrom(
        'cordon_nodepool',
        'repair_nodepool',
        'cordon_nodepool_and_restart_jobset',
        'uncordon_nodepool',
      ),
      id: text,
      node_pool: text,
      node_name: text,
      jobset_name: text,
      namespace: text,
      cluster: text,
      repair: text,
      fault: text,
      on_failure: text,
      dry_run: fc.oneof(fc.boolean(), text),
      accept: text,
      uncordon_when_repaired: fc.oneof(fc.boolean(), text),
      when_no_spare: text,
      approval: text,
      restart_grace_seconds: fc.oneof(fc.integer(), text),
      requestor: text,
      reason: text,
    },
    { requiredKeys: ['type'] },
  )
  .chain((body) => damaged({ requestor: 'a', reason: 'b', node_pool: 'slice-a', ...body }));

const notification = fc.oneof(
  damaged(
    createNotification({
      startedAt: now,
      labels: { failover_action: 'cordon_nodepool' },
      resource: { node_name: 'n' },
    }),
  ),
  damaged(toPush(createNotification({ startedAt: now }), { publishedAt: now })),
  damaged(createXidEntry({ instanceId: '1', at: now })).map((entry) =>
    toPush(entry ?? null, { publishedAt: now }),
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

const prefix = 'autometric-failover/';
const keys = [
  'id',
  'hash',
  'phase',
  'plan',
  'answer',
  'type',
  'node-pool',
  'version',
  'verdict',
  'effects',
  'attempts',
  'restart',
  'jobset',
];
const moreKeys = [
  'pools',
  'refused-pools',
  'paused',
  'paused-by',
  'override-until',
  'last-uncordon',
  'holds',
  'closed',
  'action',
  'received-at',
];
const annotations = fc.dictionary(
  fc.constantFrom(...[...keys, ...moreKeys].map((key) => `${prefix}${key}`)),
  fc.oneof(text, fc.json({ maxDepth: 3 })),
);

const lease = fc.record({
  name: fc.constantFrom('pool-slice-a', 'action-1', 'cluster', 'jobset-1'),
  resourceVersion: fc.constant('1'),
  holder: fc.option(text, { nil: undefined }),
  renewedAt: fc.option(fc.double(), { nil: undefined }),
  labels: fc.dictionary(text, text),
  annotations,
});

const metadataKeys = [
  'cloud.google.com/gke-accelerator',
  'cloud.google.com/gke-tpu-topology',
  'cloud.google.com/gke-accelerator-count',
  'cloud.google.com/gke-nodepool',
  'cloud.google.com/fault-behavior',
  'cloud.google.com/report-and-replace-status',
  'container.googleapis.com/instance_id',
  'autometric-failover/repair',
];
const metadata = fc.dictionary(fc.oneof(fc.constantFrom(...metadataKeys), text), text);

/** Whoever may edit nodes writes their texts; the API server holds their types. */
const node = fc.record({
  metadata: fc.record({
    name: text,
    uid: text,
    labels: metadata,
    annotations: metadata,
    creationTimestamp: text,
  }),
  spec: fc.record({
    providerID: text,
    taints: fc.array(fc.record({ key: text, value: text, effect: text })),
  }),
  status: fc.record({
    conditions: fc.array(
      fc.record({ type: fc.oneof(fc.constant('Ready'), text), status: text, lastTransitionTime: text }),
    ),
    capacity: metadata,
    allocatable: metadata,
    nodeInfo: fc.record({ bootID: text, systemUUID: text, kubeletVersion: text }),
  }),
});

const gkeAnswer = fc.oneof(
  damaged({
    nodePools: [{ name: 'slice-a', status: 'RUNNING', conditions: [{ code: 'x' }], config: { spot: true } }],
  }),
  damaged({
    operations: [
      { name: 'o', operationType: 'UPGRADE_NODES', status: 'RUNNING', targetLink: 'x', startTime: 'y' },
    ],
  }),
);

/** One door: how many of the runs it gets, and what goes through it. */
interface Door<T> {
  share: number;
  arbitrary: fc.Arbitrary<T>;
  pass: (value: T) => void;
}

function door<T>(share: number, arbitrary: fc.Arbitrary<T>, pass: (value: T) => void): Door<unknown> {
  return { share, arbitrary, pass: pass as (value: unknown) => void };
}

const url = fc.tuple(
  fc.constantFrom('/actions', '/status', '/', '/actions/'),
  text,
  fc.array(
    fc.tuple(
      fc.oneof(text, fc.constantFrom('cluster', 'limit', 'since', 'state', 'wait', 'page_token', 'nodepool')),
      text,
    ),
    { maxLength: 4 },
  ),
);

const doors: Record<string, Door<unknown>> = {
  'an action': door(6, actionBody, (body) => void parseAction(body, clusters, 'generated')),
  'the id of a text': door(
    2,
    fc.oneof(
      fc.json(),
      fc.string(),
      actionBody.map((body) => JSON.stringify(body) ?? ''),
    ),
    (body) => {
      readId(body);
    },
  ),
  'an alert or its envelope': door(6, notification, (body) => {
    isForAlerts(body);
    isPushEnvelope(body);
    toAlert(readAlert(body, config.logRules), config, now);
  }),
  'a query': door(4, url, ([path, id, query]) => {
    const search = query.map(([key, value]) => `${key}=${value}`).join('&');
    parseRead(path.endsWith('/') && path !== '/' ? `${path}${id}` : path, `${path}?${search}`, clusters);
  }),
  'a body that asks': door(
    2,
    actionBody.chain((body) => damaged({ ...(body as object), type: 'list_actions' })),
    (body) => {
      if (readTypeOf(body)) parseReadBody(body, clusters);
    },
  ),
  'a Lease': door(8, lease, (found) => {
    const { annotations: of } = found;
    const state = found as unknown as Parameters<typeof readRestartMark>[0] & object;
    toRecord(state);
    listMarks(of);
    hasOwnMark(of, 'a');
    listOwnEffects(of, 'a');
    countAttempts(toRepairs('slice-a', of, []), config, now);
    countAttempts(toRestarts({ namespace: 'default', name: 'train', uid: 'u' }, state, 1), config, now);
    withMark(of, 'repair', { action: 'b', at: new Date(now).toISOString() }, []);
    readRestartMark(state);
    readLockState(state, now);
    readLastUncordon(of);
    readRecentPools(of, now);
    readRefusedPools(of, now);
    isBudgetBroken(of);
    toSwitches({ annotations: of }, now);
  }),
  'a node': door(4, node, (value) => {
    const health = toNodeHealth(value as unknown as Parameters<typeof toNodeHealth>[0]);
    readReport(health);
    toExpectedNodes(health);
    toShownMachine(health);
    findRepairUnderWay(health, { serverNow: now, repairTimeoutSeconds: 1800 });
    whyNotReportable(health);
    isHealthy(health);
    rankByHealth([health, health]);
    describeLack([health], 2);
    isBeingDrained(health);
  }),
  'what GKE says': door(2, gkeAnswer, (answer) => {
    toPools(answer);
    toOperations(answer, clusters[0]!);
  }),
};

describe('whatever comes through a door', () => {
  const total = Object.values(doors).reduce((sum, { share }) => sum + share, 0);
  for (const [name, { share, arbitrary, pass }] of Object.entries(doors)) {
    const numRuns = Math.ceil((runs * share) / total);
    it(`is understood or refused: ${name}, ${numRuns} times (FUZZ_SEED=${seed})`, function () {
      this.timeout(0);
      fc.assert(
        fc.property(arbitrary, (value) => {
          try {
            pass(value);
          } catch (error) {
            if (error instanceof FailoverError) expect(error.code).not.to.equal('internal');
            else if (!(error instanceof Ignored)) throw error;
          }
        }),
        { numRuns, seed, endOnFailure: false },
      );
    });
  }
});
