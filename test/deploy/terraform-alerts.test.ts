import { expect } from 'chai';
import { demoCluster } from '../emulator/scenario.ts';
import { onEmulatedGke } from './emulated-gke.ts';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';
import { needs } from './run.ts';
import { resourceOf, stateAfter } from './terraform.ts';
import type { TestRun } from './terraform.ts';

describe('an alert of a policy that Terraform creates, in the function that it deploys', function () {
  this.timeout(1_500_000);
  before(function () {
    needs(this, 'terraform');
  });

  it('is accepted where Pub/Sub pushes it, and carried out', async () => {
    const run = await stateAfter('alerts/pubsub');
    const path = pushPath(run);
    const labels = resourceOf(run, 'google_monitoring_alert_policy.failover["host-error"]')[
      'user_labels'
    ] as Labels;
    await onEmulatedGke(
      async ({ cluster, post }) => {
        const inPool = () =>
          cluster
            .nodes()
            .filter(({ metadata }) => metadata.labels?.['cloud.google.com/gke-nodepool'] === 'slice-a');
        const [node] = inPool();
        const response = await post(path, toPushEnvelope(toNotification(labels, node?.metadata.name ?? '')));
        expect(await response.json()).to.have.nested.property('steps[0].cordoned', 16);
        expect(response.status).to.equal(200);
        expect(inPool().every(({ spec }) => spec?.unschedulable)).to.equal(true);
      },
      { settings: alertSettings(run) },
    );
  });

  it('cannot trigger a type that no policy asks for, although a person can', async () => {
    const run = await stateAfter('alerts/policies_made_elsewhere');
    const labels = { failover_action: 'repair_nodepool' };
    await onEmulatedGke(
      async ({ emulator, cluster, post }) => {
        const [node] = cluster.nodes();
        const response = await post('/alerts', toNotification(labels, node?.metadata.name ?? ''));
        expect(await response.json()).to.include({ code: 'forbidden' });
        expect(emulator.requests.filter(({ api }) => api === 'compute')).to.have.lengthOf(0);
      },
      { settings: alertSettings(run) },
    );
  });

  it('is accepted by the webhook only with its credentials', async () => {
    const run = await stateAfter('webhook/webhook');
    const [channel] = [
      resourceOf(run, 'google_monitoring_notification_channel.webhook[0]')['labels'] as Labels,
    ];
    const { pathname } = new URL(channel?.['url'] ?? '');
    const password = 'a password of some length';
    const settings = { ...alertSettings(run, 'webhook'), WEBHOOK_PASSWORD: password };
    await onEmulatedGke(
      async ({ cluster, deployed, post }) => {
        const [node] = cluster.nodes();
        const notification = toNotification(
          { failover_action: 'cordon_nodepool' },
          node?.metadata.name ?? '',
        );
        const challenged = await post(pathname, notification);
        expect([challenged.status, challenged.headers.get('www-authenticate')]).to.match(/^401,Basic /);
        const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
        const guessed = await post(pathname, notification, basic(`${channel?.['username']}:guess`));
        expect(guessed.status).to.equal(401);
        const credentials = basic(`${channel?.['username']}:${password}`);
        const taken = await post(pathname, notification, credentials);
        expect(await taken.json()).to.have.nested.property('steps[0].step', 'cordon');
        expect((await post('/actions', {}, credentials)).status).to.equal(404);

        // People are notified of a wrong password, not of the challenge that precedes each notification.
        const { filter } = logConditionOf(run, 'google_monitoring_alert_policy.webhook_credentials[0]');
        const entries = deployed.lines().map((line) => toLogEntry(line, 'autometric-failover-webhook'));
        expect(entries.filter(parseLoggingQuery(filter))).to.have.lengthOf(1);
      },
      { settings, target: 'failoverWebhook' },
    );
  });
});

function logConditionOf(run: TestRun, address: string): { filter: string } {
  const [condition] = resourceOf(run, address)['conditions'] as {
    condition_matched_log: { filter: string }[];
  }[];
  return condition?.condition_matched_log[0] ?? { filter: '' };
}

type Labels = Record<string, string>;

function pushPath(run: TestRun): string {
  const subscription = resourceOf(run, 'google_pubsub_subscription.alerts[0]');
  const [{ push_endpoint: endpoint } = { push_endpoint: '' }] = subscription['push_config'] as {
    push_endpoint: string;
  }[];
  return new URL(endpoint).pathname;
}

/** The settings of Terraform, for the emulated cluster. */
function alertSettings(run: TestRun, key = 'failover'): Labels {
  const { service_config: configs } = resourceOf(run, `google_cloudfunctions2_function.this["${key}"]`);
  const [{ environment_variables: environment } = { environment_variables: {} }] = configs as {
    environment_variables: Labels;
  }[];
  return { ...environment, CLUSTERS: demoCluster };
}

/** A notification of Cloud Monitoring about a node (schema 1.2). */
function toNotification(policyLabels: Labels, nodeName: string): object {
  const [, project_id, , location, , cluster_name] = demoCluster.split('/');
  return {
    incident: {
      condition_name: 'host error',
      incident_id: '0.opqiw61fsv7p',
      observed_value: '1.000',
      policy_name: 'autometric-failover: host-error',
      policy_user_labels: policyLabels,
      resource: { labels: { project_id, location, cluster_name, node_name: nodeName }, type: 'k8s_node' },
      scoping_project_id: project_id,
      started_at: Math.ceil(Date.now() / 1000),
      state: 'open',
      summary: 'A host error ended a node',
    },
    version: '1.2',
  };
}

/** What Pub/Sub's push makes of it. */
function toPushEnvelope(notification: object): object {
  return {
    deliveryAttempt: 1,
    message: {
      data: Buffer.from(JSON.stringify(notification)).toString('base64'),
      messageId: '2070443601311540',
      message_id: '2070443601311540',
      publishTime: new Date().toISOString(),
      publish_time: new Date().toISOString(),
    },
    subscription: 'projects/my-project/subscriptions/autometric-failover-alerts',
  };
}
