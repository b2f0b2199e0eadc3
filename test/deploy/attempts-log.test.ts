import { expect } from 'chai';
import { AlertWorld } from '../fixtures/alert-world.ts';
import { createNotification } from '../fixtures/notification.ts';
import { nodeNames } from '../fixtures/train-world.ts';
import { extract, logCondition } from './log-metric.ts';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';
import { needs } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';

const labels = { failover_action: 'repair_nodepool' };
const environment = {
  COOLDOWN_SECONDS: '0',
  MAX_POOLS_PER_HOUR: '10',
  MAX_ATTEMPTS_PER_DAY: '1',
  // A later alert is not served by the repair of an earlier one.
  MAX_ALERT_AGE_SECONDS: '60',
};

/** A pool that an alert has had repaired as often as a day allows, and that alerts about it still. */
async function exhaust(): Promise<{
  world: AlertWorld;
  notify: (id: string, isPushed: boolean) => Promise<void>;
}> {
  const world = new AlertWorld({ environment });
  await world.pass(120);
  const notify = async (id: string, isPushed: boolean) => {
    const [node = ''] = nodeNames(world.cluster, 'slice-a');
    const resource = { node_name: node };
    const notification = createNotification({ id, startedAt: world.time.now, resource, labels });
    if (isPushed) await world.deliverAll([world.publish(notification)]);
    else await world.send(notification);
    await world.pass(600);
  };
  await notify('0.one', true);
  return { world, notify };
}

describe('an alert that exhausted attempts refuse', function () {
  this.timeout(1_500_000);

  it('pages once by the lines that the pipeline writes, however it came', async function () {
    needs(this, 'terraform');
    const { world, notify } = await exhaust();
    await notify('0.pushed', true);
    await notify('0.hooked', false);
    const entries = world.lines.map((line) => toLogEntry(JSON.stringify(line), 'autometric-failover'));
    const run = await stateAfter('alerts/pubsub');
    const paged = ['failed', 'not_helped'].flatMap((name) => {
      const policy = resourceOf(run, `google_monitoring_alert_policy.${name}[0]`);
      const { filter, label_extractors: extractors } = logCondition(policy);
      return entries
        .filter(parseLoggingQuery(filter))
        .map((entry) => extract(entry, extractors))
        .map(({ action_id: id, code }) => `${name}: ${id} ${code}`);
    });
    expect(paged).to.deep.equal([
      'failed: 0.pushed attempts_exhausted',
      'failed: 0.hooked attempts_exhausted',
    ]);
  });
});
