import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { needs, root } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';
import { incidents } from './threshold.ts';
import type { Series, ThresholdCondition } from './threshold.ts';

type Status = 'True' | 'False' | 'Unknown';

/** What a node says of its condition Ready in each minute; undefined where there is no node. */
type Life = (Status | undefined)[];

const ready = (minutes: number): Life => Array.from({ length: minutes }, () => 'True');
const be = (status: Status | undefined, minutes: number): Life =>
  Array.from({ length: minutes }, () => status);

const lives: [what: string, life: Life, firesAt: number | undefined][] = [
  ['is ready', ready(60), undefined],
  ['says that it is not ready', [...ready(10), ...be('False', 20)], 10],
  ['falls silent, so that the control plane says Unknown', [...ready(10), ...be('Unknown', 20)], 10],
  ['is not ready and then falls silent', [...ready(10), ...be('False', 3), ...be('Unknown', 20)], 10],
  ['is not ready for less than the duration', [...ready(10), ...be('False', 4), ...ready(20)], undefined],
  ['starts, and is ready a little later', [...be('False', 3), ...ready(30)], undefined],
  ['is taken away by an upgrade, a resize or autoscaling', [...ready(10), ...be(undefined, 60)], undefined],
  [
    'is drained and says False before it goes',
    [...ready(10), ...be('False', 2), ...be(undefined, 60)],
    undefined,
  ],
  [
    'is repaired: away, and back under its name',
    [...ready(10), ...be(undefined, 12), ...be('False', 2), ...ready(30)],
    undefined,
  ],
];

const statuses: Status[] = ['True', 'False', 'Unknown'];
const resource = {
  project_id: 'p',
  location: 'us-central1',
  cluster_name: 'train',
  node_name: 'gke-1',
};

/** Each status has a series. It is not said whether the ones that do not hold are written as false, or not at all. */
function toSeries(life: Life, hasFalse: boolean): Series[] {
  return statuses.map((status) => ({
    metric: { condition: 'Ready', status },
    resource,
    values: life.map((now) =>
      now === undefined ? undefined : now === status || (hasFalse ? false : undefined),
    ),
  }));
}

const sources: [what: string, read: (context: Mocha.Context) => Promise<ThresholdCondition>][] = [
  [
    'deploy/examples/policies/node-not-ready.yaml',
    async () => {
      const text = await readFile(join(root, 'deploy/examples/policies/node-not-ready.yaml'), 'utf8');
      const { conditions } = parse(text) as { conditions: { conditionThreshold: ThresholdCondition }[] };
      return conditions[0]?.conditionThreshold as ThresholdCondition;
    },
  ],
  [
    'terraform/examples/alerts',
    async (context) => {
      needs(context, 'terraform');
      const { conditions } = resourceOf(
        await stateAfter('examples/alerts'),
        'module.autometric_failover.google_monitoring_alert_policy.failover["node-not-ready"]',
      ) as { conditions: { condition_threshold: Record<string, unknown>[] }[] };
      const threshold = conditions[0]?.condition_threshold[0] ?? {};
      const [aggregation = {}] = threshold['aggregations'] as Record<string, unknown>[];
      return {
        ...threshold,
        thresholdValue: threshold['threshold_value'],
        evaluationMissingData: threshold['evaluation_missing_data'],
        aggregations: [
          {
            perSeriesAligner: aggregation['per_series_aligner'],
            crossSeriesReducer: aggregation['cross_series_reducer'],
            groupByFields: aggregation['group_by_fields'],
          },
        ],
      } as unknown as ThresholdCondition;
    },
  ],
];

for (const [where, read] of sources) {
  describe(`the policy "node not ready" of ${where}`, function () {
    this.timeout(1_500_000);
    let condition: ThresholdCondition;
    before(async function () {
      condition = await read(this);
    });

    for (const [what, life, firesAt] of lives) {
      it(`${firesAt === undefined ? 'stays quiet' : 'fires'} for a node that ${what}`, () => {
        for (const hasFalse of [true, false]) {
          const opened = incidents(condition, toSeries(life, hasFalse));
          expect(opened.map(({ minute }) => minute)).to.deep.equal(firesAt === undefined ? [] : [firesAt]);
        }
      });
    }
  });
}
