import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { actionTypes } from '../../src/action-type.ts';
import { readConfig } from '../../src/config.ts';
import { moduleDefaults } from '../fixtures/module-defaults.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import type { CloudRequest, GoogleCloud } from './google-cloud.ts';
import { isInstalled, needs, root, run } from './run.ts';
import type { CommandResult } from './run.ts';
import { resourceOf, stateAfter, terraformTests } from './terraform.ts';
import { unzip } from './unzip.ts';
import { uploadList } from './upload-list.ts';

const clusters = [
  'projects/my-project/locations/us-central1/clusters/train',
  'projects/other/locations/us-east5-a/clusters/east',
];
const args = [
  `--project my-project --region us-central1 --clusters ${clusters.join(',')} --namespaces default,research`,
  '--alerts cordon_nodepool --invoker group:oncall@example.com --set MAX_POOLS_PER_HOUR=1 --reconcile',
].flatMap((line) => line.split(' '));

const parent = 'projects/my-project/locations/us-central1';
const functionName = `${parent}/functions/autometric-failover`;
const runtime = 'serviceAccount:autometric-failover@my-project.iam.gserviceaccount.com';
const build = 'serviceAccount:autometric-failover-build@my-project.iam.gserviceaccount.com';
const tick = 'serviceAccount:autometric-failover-tick@my-project.iam.gserviceaccount.com';
const push = 'serviceAccount:autometric-failover-push@my-project.iam.gserviceaccount.com';

describe('deploy.sh, by the real gcloud on a simulated Google Cloud', function () {
  this.timeout(1_500_000);
  let cloud: GoogleCloud;
  let first: CommandResult;
  let requests: CloudRequest[];
  let sources: string[];
  const deploy = (...given: string[]) =>
    run('deploy/deploy.sh', given, {
      env: { ...cloud.environment, RETRY_SECONDS: '0', PROPAGATION_SECONDS: '2' },
    });

  before(async function () {
    needs(this, 'gcloud');
    // It takes half a minute on the other core. The tests that need it report its failures.
    if (isInstalled('terraform')) void terraformTests().catch(() => undefined);
    cloud = await serveGoogleCloud();
    sources = await uploadList();
    first = await deploy(...args);
    requests = [...cloud.requests];
  });
  after(() => cloud?.close());

  it('succeeds', () => {
    expect(first.code, first.stderr).to.equal(0);
  });

  it('deploys the function behind IAM, with limits that fit it', () => {
    const { serviceConfig, buildConfig } = cloud.resources.get(functionName) as Record<
      string,
      Record<string, unknown>
    >;
    const { environmentVariables, ...limits } = serviceConfig ?? {};
    expect(limits).to.deep.include({
      availableCpu: '1',
      availableMemory: '512Mi',
      ingressSettings: 'ALLOW_ALL',
      maxInstanceCount: 3,
      maxInstanceRequestConcurrency: 10,
      minInstanceCount: 0,
      serviceAccountEmail: runtime.replace('serviceAccount:', ''),
      timeoutSeconds: 300,
    });
    expect(buildConfig).to.deep.include({
      runtime: 'nodejs24',
      entryPoint: 'failover',
      automaticUpdatePolicy: {},
      serviceAccount: `projects/my-project/serviceAccounts/${build.replace('serviceAccount:', '')}`,
    });
    const config = readConfig(environmentVariables as Record<string, string>);
    expect(config.clusters.map(({ name }) => name)).to.deep.equal(['train', 'east']);
    expect(config).to.deep.include({
      alertActions: ['cordon_nodepool'],
      allowedNamespaces: ['default', 'research'],
      maxPoolsPerHour: 1,
    });
    expect(environmentVariables).to.include({
      LOG_EXECUTION_ID: 'true',
      GOOGLE_CLOUD_PROJECT: 'my-project',
      NODE_OPTIONS: moduleDefaults.nodeOptions,
    });
  });

  it('waits between the grants of a new build account and the build, and tries an absent agent again', () => {
    const lastGrant = requests.findLast(
      ({ path, body }) => path.endsWith('projects/my-project:setIamPolicy') && body.includes('-build@'),
    );
    const upload = requests.find(({ path }) => path.endsWith('functions:generateUploadUrl'));
    expect((upload?.at ?? 0) - (lastGrant?.at ?? 0)).to.be.at.least(2000);
    const toAgent = requests.filter(
      ({ path, body }) => path.endsWith(':setIamPolicy') && body.includes('gcp-sa-monitoring'),
    );
    expect(toAgent).to.have.lengthOf(6);
  });

  it('uploads only what the build needs', async () => {
    const files = unzip(cloud.upload());
    expect([...files.keys()].toSorted()).to.deep.equal(sources);
    expect(files.get('tsconfig.json')?.toString()).to.equal(
      await readFile(join(root, 'tsconfig.json'), 'utf8'),
    );
  });

  it('grants the role of gcp-role.yaml in each project, with its condition', async () => {
    const role = parse(await readFile(join(root, 'gcp-role.yaml'), 'utf8')) as object;
    const condition = parse(await readFile(join(root, 'deploy/gcp-role-condition.yaml'), 'utf8')) as object;
    for (const project of ['my-project', 'other']) {
      const name = `projects/${project}/roles/autometric_failover`;
      expect(cloud.resources.get(name)).to.deep.equal({ ...role, name });
      expect(bindingsOf(`projects/${project}`)).to.deep.include({
        role: name,
        members: [runtime],
        condition,
      });
    }
  });

  it('allows the build to write its log and its image, and to read the sources', () => {
    const granted = bindingsOf('projects/my-project').filter(({ members }) => members.includes(build));
    expect(granted.map(({ role, condition }) => [role, condition?.expression])).to.deep.equal([
      ['roles/logging.logWriter', undefined],
      ['roles/artifactregistry.writer', undefined],
      [
        'roles/storage.objectViewer',
        'resource.name.startsWith("projects/_/buckets/gcf-v2-sources-123456789012-us-central1")',
      ],
    ]);
  });

  it('allows calls only from the named invokers, Pub/Sub and Cloud Scheduler', () => {
    expect(bindingsOf(`${parent}/services/autometric-failover`)).to.deep.equal([
      { role: 'roles/run.invoker', members: ['group:oncall@example.com', push, tick] },
    ]);
    expect(
      requests.filter(({ body }) => /allUsers|allAuthenticatedUsers/.test(body.toString('latin1'))),
    ).to.have.lengthOf(0);
  });

  it('has Cloud Scheduler post to /reconcile once a minute, as its own service account', () => {
    const uri = 'https://autometric-failover-abc-uc.a.run.app';
    const job = cloud.resources.get(`${parent}/jobs/autometric-failover-reconcile`);
    expect(job).to.deep.include({ schedule: '* * * * *', timeZone: 'Etc/UTC', attemptDeadline: '300s' });
    expect(job?.['httpTarget']).to.deep.include({
      uri: `${uri}/reconcile`,
      httpMethod: 'POST',
      oidcToken: { serviceAccountEmail: tick.replace('serviceAccount:', ''), audience: uri },
    });
  });

  it('delivers alerts to /alerts with a token for the bare address, and keeps undelivered ones', () => {
    const uri = 'https://autometric-failover-abc-uc.a.run.app';
    expect(cloud.resources.get('projects/my-project/subscriptions/autometric-failover-alerts')).to.deep.equal(
      {
        name: 'projects/my-project/subscriptions/autometric-failover-alerts',
        topic: 'projects/my-project/topics/autometric-failover-alerts',
        ackDeadlineSeconds: 600,
        messageRetentionDuration: '3600s',
        expirationPolicy: {},
        pushConfig: {
          pushEndpoint: `${uri}/alerts`,
          oidcToken: { serviceAccountEmail: push.replace('serviceAccount:', ''), audience: uri },
        },
        retryPolicy: { minimumBackoff: '10s', maximumBackoff: '60s' },
        deadLetterPolicy: {
          deadLetterTopic: 'projects/my-project/topics/autometric-failover-dead-letters',
          maxDeliveryAttempts: 20,
        },
      },
    );
    expect(
      cloud.resources.get('projects/my-project/subscriptions/autometric-failover-dead-letters'),
    ).to.deep.include({
      topic: 'projects/my-project/topics/autometric-failover-dead-letters',
      expirationPolicy: {},
    });
    const pubsubAgent = 'serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com';
    const monitoringAgent =
      'serviceAccount:service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com';
    const granted = [
      ['topics/autometric-failover-alerts', 'roles/pubsub.publisher', monitoringAgent],
      ['topics/autometric-failover-dead-letters', 'roles/pubsub.publisher', pubsubAgent],
      ['subscriptions/autometric-failover-alerts', 'roles/pubsub.subscriber', pubsubAgent],
    ] as const;
    for (const [name, role, member] of granted) {
      expect(bindingsOf(`projects/my-project/${name}`), name).to.deep.equal([{ role, members: [member] }]);
    }
  });

  it('creates the notification channel', () => {
    expect(cloud.resources.get('projects/my-project/notificationChannels/1')).to.deep.include({
      type: 'pubsub',
      labels: { topic: 'projects/my-project/topics/autometric-failover-alerts' },
    });
  });

  it('sets what Terraform sets', async function () {
    needs(this, 'terraform');
    const terraform = await stateAfter('alerts/pubsub');
    const [service] = resourceOf(terraform, 'google_cloudfunctions2_function.this["failover"]')[
      'service_config'
    ] as [Record<string, unknown>];
    const deployed = cloud.resources.get(functionName)?.['serviceConfig'] as Record<string, unknown>;
    const pairs = [
      ['available_cpu', 'availableCpu'],
      ['available_memory', 'availableMemory'],
      ['ingress_settings', 'ingressSettings'],
      ['max_instance_count', 'maxInstanceCount'],
      ['max_instance_request_concurrency', 'maxInstanceRequestConcurrency'],
      ['min_instance_count', 'minInstanceCount'],
      ['timeout_seconds', 'timeoutSeconds'],
    ] as const;
    for (const [ofTerraform, ofApi] of pairs) expect(deployed[ofApi], ofApi).to.equal(service[ofTerraform]);

    const subscription = resourceOf(terraform, 'google_pubsub_subscription.alerts[0]');
    const created = cloud.resources.get('projects/my-project/subscriptions/autometric-failover-alerts');
    expect(created?.['ackDeadlineSeconds']).to.equal(subscription['ack_deadline_seconds']);
    expect(created?.['messageRetentionDuration']).to.equal(subscription['message_retention_duration']);
    const [{ max_delivery_attempts: attempts } = {}] = subscription['dead_letter_policy'] as Record<
      string,
      unknown
    >[];
    expect(created?.['deadLetterPolicy']).to.include({ maxDeliveryAttempts: attempts });
    expect(
      cloud.requests.find(({ path }) => path.endsWith('services:batchEnable'))?.json['serviceIds'],
    ).to.have.members(
      terraform.resources
        .filter(({ type }) => type === 'google_project_service')
        .map(({ values }) => values['service'])
        // Only for the webhook, which the script does not make.
        .filter((api) => api !== 'secretmanager.googleapis.com'),
    );
  });

  it('prints the next commands', () => {
    expect(first.stdout).to.match(/^Deployed\. Give it its rights/m);
    expect(first.stdout).to.include(
      'gcloud alpha monitoring policies create --project my-project --notification-channels=projects/my-project/notificationChannels/1',
    );
    expect(first.stdout).to.include(
      'deploy/rbac.sh --email autometric-failover@my-project.iam.gserviceaccount.com --unique-id 100000000000000000001 --namespaces default,research | kubectl --context CONTEXT apply -f -',
    );
    expect(first.stdout).to.include(
      'gcloud functions call autometric-failover --gen2 --project my-project --region us-central1',
    );
  });

  it('prints the plan in a dry run, says that nothing was done, and sends no request', async () => {
    const before = cloud.requests.length;
    const dryRun = await deploy(...args, '--dry-run');
    expect(dryRun.code, dryRun.stderr).to.equal(0);
    expect(cloud.requests).to.have.lengthOf(before);
    expect(dryRun.stdout).to.match(/^Dry run: nothing was run, and nothing is deployed\. /m);
    expect(dryRun.stdout).to.not.match(/^Deployed/m);
    expect(dryRun.stderr).to.equal('');
    const commands = (text: string) => text.split('\n').filter((line) => line.startsWith('+ gcloud'));
    const filledIn = dryRun.stdout
      .replaceAll('PROJECT_NUMBER', '123456789012')
      .replaceAll('FUNCTION_URI', 'autometric-failover-abc-uc.a.run.app');
    // A command that had to be tried again is there more than once.
    expect(commands(filledIn)).to.deep.equal([...new Set(commands(first.stderr))]);
  });

  it('creates nothing twice when it is run again', async () => {
    const before = new Map(cloud.resources);
    const start = cloud.requests.length;
    const again = await deploy(...args);
    expect(again.code, again.stderr).to.equal(0);
    expect(again.stderr).not.to.include('waiting');
    const written = cloud.requests
      .slice(start)
      .filter(({ method, path }) => method !== 'GET' && !/[gs]etIamPolicy$/.test(path));
    expect(written.map(({ method, path }) => `${method} ${path}`)).to.deep.equal([
      'POST /v1/projects/my-project/services:batchEnable',
      'PATCH /v1/projects/my-project/roles/autometric_failover',
      'PATCH /v1/projects/other/roles/autometric_failover',
      `POST /v2/${parent}/functions:generateUploadUrl`,
      'PUT /upload',
      `PATCH /v2/${functionName}`,
      'PATCH /v1/projects/my-project/subscriptions/autometric-failover-alerts',
      `PATCH /v1/${parent}/jobs/autometric-failover-reconcile`,
    ]);
    const policies = (resources: typeof before) =>
      [...resources].filter(([name]) => name.endsWith(' policy'));
    expect(policies(cloud.resources)).to.deep.equal(policies(before));
    expect([...cloud.resources.keys()]).to.deep.equal([...before.keys()]);
  });

  // The run before left everything as it was. What follows changes it, so it comes last.
  describe('run again without --alerts', () => {
    const others = args.filter((_, i) => args[i] !== '--alerts' && args[i - 1] !== '--alerts');

    it('refuses before it changes anything, because alerts still arrive', async () => {
      const before = new Map(cloud.resources);
      const start = cloud.requests.length;
      const again = await deploy(...others);
      expect(again.code).to.equal(1);
      expect(again.stderr).to.match(
        /subscription autometric-failover-alerts: repeat --alerts TYPES, or .*--no-alerts/,
      );
      expect(
        cloud.requests.slice(start).filter(({ method }) => method !== 'GET' && method !== 'POST'),
      ).to.deep.equal([]);
      expect(cloud.resources).to.deep.equal(before);
    });

    it('with --no-alerts deletes the subscription, and the function has no ALERT_ACTIONS any more', async () => {
      const again = await deploy(...others, '--no-alerts');
      expect(again.code, again.stderr).to.equal(0);
      expect(cloud.resources.has('projects/my-project/subscriptions/autometric-failover-alerts')).to.equal(
        false,
      );
      const { serviceConfig } = cloud.resources.get(functionName) as Record<string, Record<string, object>>;
      expect(serviceConfig?.['environmentVariables'])
        .to.include({ MAX_POOLS_PER_HOUR: '1' })
        .and.not.have.property('ALERT_ACTIONS');
      const oncemore = await deploy(...others, '--no-alerts');
      expect(oncemore.code, oncemore.stderr).to.equal(0);
    });
  });

  function bindingsOf(name: string): Binding[] {
    const { bindings = [] } = (cloud.resources.get(`${name} policy`) ?? {}) as { bindings?: Binding[] };
    return bindings;
  }
});

interface Binding {
  role: string;
  members: string[];
  condition?: { expression: string };
}

describe('deploy.sh', () => {
  const required = ['--project', 'p', '--region', 'r', '--clusters', 'projects/p/locations/l/clusters/c'];
  const refusals: [what: string, args: string[], message: RegExp][] = [
    ['nothing', [], /--project, --region and --clusters are required/],
    ['a cluster by its short name', [...required, '--clusters', 'train'], /"train", which is not projects\//],
    [
      'everybody as a caller',
      [...required, '--invoker', 'allUsers'],
      /name people, groups or service accounts/,
    ],
    [
      'a name that is too long',
      [...required, '--name', 'autometric-failover-of-team-x'],
      /--name must have 6 to 24/,
    ],
    ['a setting without a value', [...required, '--set', 'COOLDOWN_SECONDS'], /is not KEY=VALUE/],
    [
      'an unknown action',
      [...required, '--actions', 'cordon_nodepool,bogus'],
      /--actions has "bogus", .* cordon_nodepool cordon_nodepool_and_restart_jobset /,
    ],
    ['an unknown action for alerts', [...required, '--alerts', 'cordon'], /--alerts has "cordon"/],
    [
      'an unknown setting',
      [...required, '--set', 'MAXPOOLS=3'],
      /--set does not take MAXPOOLS; it takes: COOLDOWN_SECONDS /,
    ],
    [
      'a setting that has an option of its own',
      [...required, '--set', 'ALERT_ACTIONS=cordon_nodepool'],
      /--set does not take ALERT_ACTIONS/,
    ],
    [
      'both --alerts and --no-alerts',
      [...required, '--alerts', 'cordon_nodepool', '--no-alerts'],
      /exclude one another/,
    ],
    ['an approval of no action', [...required, '--approval', 'drain'], /--approval has "drain"/],
    ['an archive that is not there', [...required, '--archive', 'main.zip'], /main\.zip is neither gs:\/\//],
    ['an archive that is none', [...required, '--archive', 'gs://releases/main.tgz'], /neither gs:\/\//],
    ['an unknown option', [...required, '--dryrun', 'yes'], /unknown option --dryrun/],
    ['an option without its value', [...required, '--alerts'], /--alerts needs a value/],
  ];
  for (const [what, given, message] of refusals) {
    it(`refuses ${what}`, async () => {
      const { code, stderr } = await run('deploy/deploy.sh', given);
      expect(code).to.equal(1);
      expect(stderr).to.match(message);
    });
  }

  it('knows the actions and the settings of the source', async () => {
    const [script, config] = await Promise.all(
      ['deploy/deploy.sh', 'src/config.ts'].map((path) => readFile(join(root, path), 'utf8')),
    );
    const listOf = (name: string): string[] =>
      new RegExp(`^${name}=\\(([^)]+)\\)`, 'm').exec(script ?? '')?.[1]?.split(/\s+/) ?? [];
    const [, schema = ''] = /^const settingsSchema = v\.object\(\{\n([^]*?)^\}\);/m.exec(config ?? '') ?? [];
    const settings = [...schema.matchAll(/^ {2}([A-Z_]+): /gm)].map(([, name]) => name);
    const byOption = [
      'CLUSTERS',
      'ALLOWED_ACTIONS',
      'ALERT_ACTIONS',
      'APPROVAL_ACTIONS',
      'ALLOWED_NAMESPACES',
    ];
    expect(listOf('ACTION_TYPES')).to.have.members([...actionTypes]);
    // KUBECONFIG_CONTEXT is for local runs only.
    expect([...listOf('SETTINGS'), ...byOption, 'KUBECONFIG_CONTEXT']).to.have.members(settings);
  });

  it('schedules nothing unless it is asked to', async () => {
    for (const [given, isScheduled] of [
      [[], false],
      [['--reconcile'], true],
    ] as const) {
      const { code, stdout, stderr } = await run('deploy/deploy.sh', [...required, ...given, '--dry-run']);
      expect(code, stderr).to.equal(0);
      expect(/scheduler jobs create http|-tick/.test(stdout), stdout).to.equal(isScheduled);
    }
  });

  it('passes on which actions need an approval', async () => {
    const given = [
      '--approval',
      'repair_nodepool,uncordon_nodepool',
      '--set',
      'APPROVAL_TTL_SECONDS=600',
      '--dry-run',
    ];
    const { code, stdout, stderr } = await run('deploy/deploy.sh', [...required, ...given]);
    expect(code, stderr).to.equal(0);
    // Printed as a shell takes it.
    expect(stdout.replaceAll('\\', '')).to.include('APPROVAL_ACTIONS=repair_nodepool,uncordon_nodepool');
    expect(stdout).to.include('APPROVAL_TTL_SECONDS=600');
  });

  it('deploys the archive of a release, which the build may read', async () => {
    const given = ['--archive', 'gs://releases/autometric-failover-0.1.0.zip', '--dry-run'];
    const { code, stdout, stderr } = await run('deploy/deploy.sh', [...required, ...given]);
    expect(code, stderr).to.equal(0);
    expect(stdout).to.include(' --source gs://releases/autometric-failover-0.1.0.zip ');
    expect(stdout.replaceAll('\\', '')).to.include('startsWith("projects/_/buckets/releases")');
  });

  it('passes the VPC connector on, and leaves the condition out when told to', async () => {
    const given = ['--vpc-connector', 'c', '--set', 'GKE_ENDPOINT=private', '--no-condition', '--dry-run'];
    const { code, stdout, stderr } = await run('deploy/deploy.sh', [...required, ...given]);
    expect(code, stderr).to.equal(0);
    expect(stdout).to.match(/functions deploy .*--vpc-connector c --egress-settings private-ranges-only/);
    expect(stdout).to.include('GKE_ENDPOINT=private').and.not.include('--condition-from-file');
  });
});
