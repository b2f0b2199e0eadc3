import { expect } from 'chai';
import { actionTypes } from '../src/action-type.ts';
import { ConfigError, readConfig, readWebhookCredentials } from '../src/config.ts';

const train = 'projects/ml-prod/locations/us-central1/clusters/train';
const serve = 'projects/ml-prod/locations/us-east5-b/clusters/serve';

describe('readConfig', () => {
  it('has a default for all but the clusters', () => {
    expect(readConfig({ CLUSTERS: train })).to.deep.equal({
      clusters: [{ fullName: train, projectId: 'ml-prod', location: 'us-central1', name: 'train' }],
      allowedActions: [...actionTypes],
      alertActions: [...actionTypes],
      approvalActions: [],
      approvalTtlSeconds: 1800,
      allowedNamespaces: ['default'],
      logRules: {},
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
      kubeconfigContext: undefined,
      containerEndpoint: undefined,
      computeEndpoint: undefined,
    });
  });

  it('reads every setting', () => {
    const config = readConfig({
      CLUSTERS: `${train},${serve}`,
      ALLOWED_ACTIONS: 'cordon_nodepool,repair_nodepool',
      ALERT_ACTIONS: 'cordon_nodepool',
      APPROVAL_ACTIONS: 'repair_nodepool',
      APPROVAL_TTL_SECONDS: '600',
      ALLOWED_NAMESPACES: 'default,research',
      COOLDOWN_SECONDS: '60',
      MAX_POOLS_PER_HOUR: '5',
      MAX_ATTEMPTS_PER_DAY: '4',
      MAX_ALERT_AGE_SECONDS: '120',
      ACTION_DEADLINE_SECONDS: '30',
      ACCEPT_TIMEOUT_SECONDS: '600',
      CORDON_CONCURRENCY: '8',
      GKE_ENDPOINT: 'dns',
      CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: 'http://127.0.0.1:8001/',
      CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: 'https://compute.example.com/compute/v1/',
    });
    expect(config).to.deep.include({
      clusters: [
        { fullName: train, projectId: 'ml-prod', location: 'us-central1', name: 'train' },
        { fullName: serve, projectId: 'ml-prod', location: 'us-east5-b', name: 'serve' },
      ],
      allowedActions: ['cordon_nodepool', 'repair_nodepool'],
      alertActions: ['cordon_nodepool'],
      approvalActions: ['repair_nodepool'],
      approvalTtlSeconds: 600,
      allowedNamespaces: ['default', 'research'],
      cooldownSeconds: 60,
      maxPoolsPerHour: 5,
      maxAttemptsPerDay: 4,
      maxAlertAgeSeconds: 120,
      actionDeadlineSeconds: 30,
      acceptTimeoutSeconds: 600,
      cordonConcurrency: 8,
      gkeEndpoint: 'dns',
    });
    expect(config.containerEndpoint?.href).to.equal('http://127.0.0.1:8001/');
    expect(config.computeEndpoint?.href).to.equal('https://compute.example.com/compute/v1/');
    expect(readConfig({ CLUSTERS: train, KUBECONFIG_CONTEXT: 'kind-kind' }).kubeconfigContext).to.equal(
      'kind-kind',
    );
  });

  it('ignores white space around the items of a list, and empty items', () => {
    const { clusters } = readConfig({ CLUSTERS: ` ${train} ,\n ${serve}, ` });
    expect(clusters.map((cluster) => cluster.fullName)).to.deep.equal([train, serve]);
  });

  it('treats a blank setting as not set', () => {
    expect(
      readConfig({ CLUSTERS: train, COOLDOWN_SECONDS: ' ', ALLOWED_NAMESPACES: '', GKE_ENDPOINT: '' }),
    ).to.deep.equal(readConfig({ CLUSTERS: train }));
  });

  it('lets alerts ask for what ALLOWED_ACTIONS lists when ALERT_ACTIONS is not set', () => {
    expect(readConfig({ CLUSTERS: train, ALLOWED_ACTIONS: 'uncordon_nodepool' }).alertActions).to.deep.equal([
      'uncordon_nodepool',
    ]);
  });

  it('lets alerts ask for nothing when ALERT_ACTIONS is an empty list', () => {
    expect(readConfig({ CLUSTERS: train, ALERT_ACTIONS: ',' }).alertActions).to.deep.equal([]);
  });

  it('accepts an http endpoint on each name of this machine', () => {
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      const url = `http://${host}:8001/`;
      const environment = { CLUSTERS: train, CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: url };
      expect(readConfig(environment).computeEndpoint?.href).to.equal(url);
    }
  });

  it('takes namespaces of 1 to 63 characters', () => {
    const read = (namespace: string) =>
      readConfig({ CLUSTERS: train, ALLOWED_NAMESPACES: namespace }).allowedNamespaces;
    expect(read(`a,${'a'.repeat(63)}`)).to.deep.equal(['a', 'a'.repeat(63)]);
    expect(problemOf(() => read('a'.repeat(64)))).to.match(
      /ALLOWED_NAMESPACES has "a+", which is not the name of a namespace$/,
    );
  });

  it('accepts a project that belongs to a domain', () => {
    const [cluster] = readConfig({
      CLUSTERS: 'projects/example.com:ml/locations/us-central1/clusters/c',
    }).clusters;
    expect(cluster).to.include({ projectId: 'example.com:ml' });
  });

  for (const { name, environment, problem } of [
    {
      name: 'no CLUSTERS',
      environment: { CLUSTERS: undefined },
      problem:
        'CLUSTERS is not set: list the GKE clusters it may act on, as CLUSTERS=projects/P/locations/L/clusters/C,…',
    },
    {
      name: 'blank CLUSTERS',
      environment: { CLUSTERS: '  ' },
      problem:
        'CLUSTERS is not set: list the GKE clusters it may act on, as CLUSTERS=projects/P/locations/L/clusters/C,…',
    },
    { name: 'a comma for CLUSTERS', environment: { CLUSTERS: ',' }, problem: 'CLUSTERS names no cluster' },
    {
      name: 'a bare cluster name',
      environment: { CLUSTERS: `${train},serve` },
      problem: 'CLUSTERS has "serve", which is not projects/P/locations/L/clusters/C',
    },
    {
      name: 'a cluster with a path behind',
      environment: { CLUSTERS: `${train}/nodePools/p` },
      problem: `CLUSTERS has "${train}/nodePools/p", which is not projects/P/locations/L/clusters/C`,
    },
    {
      name: 'a cluster twice',
      environment: { CLUSTERS: `${train},${train}` },
      problem: 'CLUSTERS names a cluster twice',
    },
    {
      name: 'an unknown action',
      environment: { ALLOWED_ACTIONS: 'cordon_nodepool,reboot' },
      problem: `ALLOWED_ACTIONS has "reboot", which is not one of ${actionTypes.join(', ')}`,
    },
    {
      name: 'no allowed action',
      environment: { ALLOWED_ACTIONS: ',' },
      problem: 'ALLOWED_ACTIONS allows nothing',
    },
    {
      name: 'an alert action that is not allowed',
      environment: { ALLOWED_ACTIONS: 'cordon_nodepool', ALERT_ACTIONS: 'cordon_nodepool,repair_nodepool' },
      problem: 'ALERT_ACTIONS has repair_nodepool, which ALLOWED_ACTIONS does not allow',
    },
    {
      name: 'a * for a namespace',
      environment: { ALLOWED_NAMESPACES: 'default,*' },
      problem: 'ALLOWED_NAMESPACES has "*", which is not the name of a namespace',
    },
    {
      name: 'no namespace',
      environment: { ALLOWED_NAMESPACES: ',' },
      problem: 'ALLOWED_NAMESPACES names no namespace',
    },
    {
      name: 'an unknown GKE_ENDPOINT',
      environment: { GKE_ENDPOINT: 'DNS' },
      problem: 'GKE_ENDPOINT must be auto, dns, public or private',
    },
    {
      name: 'a context for two clusters',
      environment: { CLUSTERS: `${train},${serve}`, KUBECONFIG_CONTEXT: 'kind-kind' },
      problem: 'KUBECONFIG_CONTEXT needs exactly one cluster in CLUSTERS: the cluster of that context',
    },
    {
      name: 'an endpoint that is no URL',
      environment: { CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER: '127.0.0.1:8001' },
      problem: 'CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER must be a URL',
    },
    ...['http://container.example.com/', 'ftp://127.0.0.1/', 'http://127.0.0.1.example.com/'].map((url) => ({
      name: `the endpoint ${url}, to which a token would be sent`,
      environment: { CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: url },
      problem: 'CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE must be https, or http to an address of this machine',
    })),
  ]) {
    it(`refuses ${name}, saying which setting and what it must be`, () => {
      expect(problemOf(() => readConfig({ CLUSTERS: train, ...environment }))).to.equal(
        `the function cannot start: ${problem}`,
      );
    });
  }

  for (const { setting, least, most, unit, or = '' } of [
    { setting: 'COOLDOWN_SECONDS', least: 0, most: 604_800, unit: 'seconds' },
    {
      setting: 'MAX_POOLS_PER_HOUR',
      least: 1,
      most: 1000,
      unit: 'pools',
      or: ', or a percentage from 1% to 100%',
    },
    { setting: 'APPROVAL_TTL_SECONDS', least: 60, most: 43_200, unit: 'seconds' },
    { setting: 'MAX_ATTEMPTS_PER_DAY', least: 1, most: 100, unit: 'attempts' },
    { setting: 'MAX_ALERT_AGE_SECONDS', least: 60, most: 86_400, unit: 'seconds' },
    { setting: 'ACTION_DEADLINE_SECONDS', least: 30, most: 3500, unit: 'seconds' },
    { setting: 'ACCEPT_TIMEOUT_SECONDS', least: 60, most: 86_400, unit: 'seconds' },
    { setting: 'CORDON_CONCURRENCY', least: 1, most: 512, unit: 'requests' },
  ]) {
    it(`takes ${setting} from ${least} to ${most}`, () => {
      expect(() => readConfig({ CLUSTERS: train, [setting]: String(least) })).not.to.throw();
      expect(() => readConfig({ CLUSTERS: train, [setting]: String(most) })).not.to.throw();
    });

    for (const value of [
      String(least - 1),
      String(most + 1),
      '1e3',
      '1.5',
      '0x10',
      '60s',
      'Infinity',
      '99999999999',
    ]) {
      it(`refuses ${setting}=${value}`, () => {
        expect(problemOf(() => readConfig({ CLUSTERS: train, [setting]: value }))).to.equal(
          `the function cannot start: ${setting} must be a whole number of ${unit} from ${least} to ${most}${or}`,
        );
      });
    }
  }

  it('names every setting that is wrong at once', () => {
    const problem = problemOf(() => readConfig({ COOLDOWN_SECONDS: 'an hour', GKE_ENDPOINT: 'ip' }));
    expect(problem).to.contain('CLUSTERS is not set');
    expect(problem).to.contain('COOLDOWN_SECONDS must be a whole number');
    expect(problem).to.contain('GKE_ENDPOINT must be');
  });

  it('ignores environment variables that are not its own', () => {
    expect(readConfig({ CLUSTERS: train, PATH: '/bin', WEBHOOK_PASSWORD: 'x' })).to.deep.equal(
      readConfig({ CLUSTERS: train }),
    );
  });
});

describe('readWebhookCredentials', () => {
  const good = { WEBHOOK_USERNAME: 'monitoring', WEBHOOK_PASSWORD: 'correct horse: ünïcode' };

  it('reads user name and password unchanged', () => {
    expect(readWebhookCredentials(good)).to.deep.equal({
      username: 'monitoring',
      password: 'correct horse: ünïcode',
    });
  });

  for (const { name, environment, problem } of [
    {
      name: 'no password',
      environment: { WEBHOOK_PASSWORD: undefined },
      problem:
        'WEBHOOK_PASSWORD is not set: set it from Secret Manager to the password of the webhook notification channel',
    },
    {
      name: 'a blank password',
      environment: { WEBHOOK_PASSWORD: ' '.repeat(20) },
      problem:
        'WEBHOOK_PASSWORD is not set: set it from Secret Manager to the password of the webhook notification channel',
    },
    {
      name: 'no user name',
      environment: { WEBHOOK_USERNAME: '' },
      problem: 'WEBHOOK_USERNAME is not set: set it to the user name of the webhook notification channel',
    },
    {
      name: 'a password of 15 characters',
      environment: { WEBHOOK_PASSWORD: 'x'.repeat(15) },
      problem: 'WEBHOOK_PASSWORD must have at least 16 characters',
    },
    // A secret made with echo has one, and then no notification would ever be let in.
    {
      name: 'a password with a line feed at its end',
      environment: { WEBHOOK_PASSWORD: `${good.WEBHOOK_PASSWORD}\n` },
      problem:
        'WEBHOOK_PASSWORD must not begin or end with white space: make the secret with printf, because echo adds a line feed',
    },
    {
      name: 'a user name with a colon, where the password would begin',
      environment: { WEBHOOK_USERNAME: 'a:b' },
      problem: 'WEBHOOK_USERNAME must not have a colon or white space',
    },
  ]) {
    it(`refuses ${name}, and never shows the password`, () => {
      const problem_ = problemOf(() => readWebhookCredentials({ ...good, ...environment }));
      expect(problem_).to.equal(`the function cannot start: ${problem}`);
      expect(problem_).not.to.contain('correct horse').and.not.to.contain('xxx');
    });
  }

  it('takes a password of 16 characters', () => {
    expect(() => readWebhookCredentials({ ...good, WEBHOOK_PASSWORD: 'x'.repeat(16) })).not.to.throw();
  });

  it('takes a percentage of the accelerator pools for the budget, from 1% to 100%', () => {
    const budget = (value: string) =>
      readConfig({ CLUSTERS: train, MAX_POOLS_PER_HOUR: value }).maxPoolsPerHour;
    expect(budget('1%')).to.deep.equal({ percent: 1 });
    expect(budget('100%')).to.deep.equal({ percent: 100 });
    for (const value of ['0%', '101%', '%', '5 %', '1.5%', '-5%', '5%%']) {
      expect(() => budget(value), value).to.throw(/or a percentage from 1% to 100%/);
    }
  });
});

function problemOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}
