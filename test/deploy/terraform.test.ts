import { expect } from 'chai';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { actionTypes } from '../../src/action-type.ts';
import { readConfig, readWebhookCredentials } from '../../src/config.ts';
import { needs, root } from './run.ts';
import { createTerraform, resourceOf, stateAfter, terraformTests } from './terraform.ts';
import type { TestRun } from './terraform.ts';

describe('terraform', function () {
  this.timeout(1_500_000);
  before(function () {
    needs(this, 'terraform');
  });

  it('is formatted and valid', async () => {
    const terraform = await createTerraform();
    try {
      const formatted = await terraform.run('fmt', '-check', '-recursive', '-diff');
      expect(formatted.code, formatted.stdout).to.equal(0);
      const valid = await terraform.run('validate', '-no-color');
      expect(valid.code, valid.stderr).to.equal(0);
    } finally {
      await terraform.close();
    }
  });

  it('passes its own tests', async () => {
    const { runs, report } = await terraformTests();
    expect(
      runs.filter(({ status }) => status !== 'pass').map(({ name, status }) => `${name}: ${status}`),
      report,
    ).to.have.lengthOf(0);
    expect(runs).to.have.lengthOf.at.least(30);
  });

  it('sets all settings of the function, to valid values', async () => {
    const config = readConfig(environmentOf(await stateAfter('alerts/pubsub'), 'failover'));
    expect(config).to.deep.equal({
      clusters: [
        {
          fullName: 'projects/my-project/locations/us-central1/clusters/train',
          projectId: 'my-project',
          location: 'us-central1',
          name: 'train',
        },
      ],
      allowedActions: actionTypes.toSorted(),
      alertActions: [
        'cordon_and_repair_nodepool',
        'cordon_nodepool',
        'cordon_nodepool_and_restart_jobset',
        'uncordon_nodepool',
      ],
      approvalActions: [],
      approvalTtlSeconds: 1800,
      allowedNamespaces: ['default', 'research'],
      cooldownSeconds: 3600,
      maxPoolsPerHour: 2,
      maxAttemptsPerDay: 3,
      maxAlertAgeSeconds: 900,
      actionDeadlineSeconds: 240,
      recoveryTimeoutSeconds: 1200,
      repairTimeoutSeconds: 1800,
      acceptTimeoutSeconds: 1800,
      resumeWithinSeconds: 900,
      cordonConcurrency: 64,
      gkeEndpoint: 'auto',
      logRules: {},
      kubeconfigContext: undefined,
      containerEndpoint: undefined,
      computeEndpoint: undefined,
    });
  });

  it('has the same defaults as the function', async () => {
    const run = await stateAfter('defaults/defaults');
    const given = environmentOf(run, 'failover');
    const { allowedActions, ...byDefault } = readConfig({ CLUSTERS: given['CLUSTERS'] });
    const { allowedActions: deployed, ...others } = readConfig(given);
    expect({ ...others, alertActions: others.alertActions.toSorted() }).to.deep.equal({
      ...byDefault,
      alertActions: byDefault.alertActions.toSorted(),
    });
    expect(deployed).to.have.members(allowedActions);
  });

  it('sets no setting that the function does not know', async () => {
    const source = await readFile(join(root, 'src/config.ts'), 'utf8');
    const ofPlatform = ['GOOGLE_CLOUD_PROJECT', 'LOG_EXECUTION_ID', 'NODE_OPTIONS'];
    const names = Object.keys(environmentOf(await stateAfter('webhook/webhook'), 'webhook'));
    expect(
      names.filter((name) => !ofPlatform.includes(name) && !source.includes(`  ${name}: `)),
    ).to.have.lengthOf(0);
  });

  it('sets valid webhook credentials', async () => {
    const run = await stateAfter('webhook/webhook');
    const [secret] = serviceConfigOf(run, 'webhook').secret_environment_variables;
    expect(secret?.key).to.equal('WEBHOOK_PASSWORD');
    const environment = { ...environmentOf(run, 'webhook'), WEBHOOK_PASSWORD: 'a password of some length' };
    expect(readWebhookCredentials(environment).username).to.equal('monitoring');
  });

  it('makes only the webhook public, in every run of its tests', async () => {
    const { runs } = await terraformTests();
    for (const { name, resources } of runs) {
      const open = resources.filter(({ values }) => JSON.stringify(values).includes('"allUsers"'));
      const isWebhook = name.endsWith('/webhook');
      expect(
        open.map(({ address }) => address.replace('module.autometric_failover.', '')),
        name,
      ).to.deep.equal(isWebhook ? ['google_cloud_run_service_iam_member.webhook[0]'] : []);
    }
  });

  it('keeps the password out of the state', async () => {
    const { resources } = await stateAfter('webhook/webhook');
    expect(JSON.stringify(resources)).not.to.include('a password of some length');
  });

  it('grants exactly what gcp-role.yaml lists', async () => {
    const role = parse(await readFile(join(root, 'gcp-role.yaml'), 'utf8')) as Record<string, string[]>;
    const run = await stateAfter('defaults/defaults');
    const { permissions } = resourceOf(run, 'google_project_iam_custom_role.this["other-project"]');
    expect(permissions).to.have.members(role['includedPermissions'] ?? []);
    const roles = run.resources
      .filter(({ type }) => type === 'google_project_iam_member')
      .map(({ values }) => values['role']);
    expect(roles).to.have.members([
      resourceOf(run, 'google_project_iam_custom_role.this["my-project"]')['name'],
      resourceOf(run, 'google_project_iam_custom_role.this["other-project"]')['name'],
      'roles/artifactregistry.writer',
      'roles/logging.logWriter',
      'roles/storage.objectViewer',
    ]);
  });

  it('uploads only what the build needs', async () => {
    const run = await stateAfter('defaults/defaults');
    const { sources } = await terraformTests();
    const { source } = resourceOf(run, 'data.archive_file.source[0]') as {
      source: { filename: string; content: string }[];
    };
    expect(source.map(({ filename }) => filename).toSorted()).to.deep.equal(sources);
    const tsconfig = source.find(({ filename }) => filename === 'tsconfig.json');
    expect(tsconfig?.content).to.equal(await readFile(join(root, 'tsconfig.json'), 'utf8'));
  });

  it('can be used from each example on its own', async () => {
    const examples = await readdir(join(root, 'terraform/examples'));
    const { runs } = await terraformTests();
    const applied = runs
      .filter(({ name }) => name.startsWith('examples/'))
      .map(({ name }) => name.slice('examples/'.length));
    expect(applied.map((name) => name.replaceAll('_', '-'))).to.have.members(examples);
  });
});

interface ServiceConfig {
  environment_variables: Record<string, string>;
  secret_environment_variables: { key: string }[];
}

function serviceConfigOf(run: TestRun, key: string): ServiceConfig {
  const { service_config: configs } = resourceOf(run, `google_cloudfunctions2_function.this["${key}"]`);
  const [config] = configs as ServiceConfig[];
  if (!config) throw new Error(`${run.name} has no service_config`);
  return config;
}

function environmentOf(run: TestRun, key: string): Record<string, string> {
  return serviceConfigOf(run, key).environment_variables;
}
