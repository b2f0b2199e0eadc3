import { expect } from 'chai';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { actionTypes } from '../../src/action-type.ts';
import { parseAction } from '../../src/request/action.ts';
import { onEmulatedGke } from './emulated-gke.ts';
import { serveGoogleCloud } from './google-cloud.ts';
import { parseLoggingQuery, toLogEntry } from './logging-query.ts';
import { needs, root, run } from './run.ts';

const examples = join(root, 'deploy/examples');

describe('the example actions', () => {
  let actions: Map<string, object>;
  before(async () => {
    const names = await readdir(join(examples, 'actions'));
    const bodies = names.map((name) => readFile(join(examples, 'actions', name), 'utf8'));
    actions = new Map(
      (await Promise.all(bodies)).map((body, i) => [names[i] ?? '', JSON.parse(body) as object]),
    );
  });

  it('are valid, and dry runs', () => {
    const clusters = [
      { fullName: 'projects/p/locations/l/clusters/c', projectId: 'p', location: 'l', name: 'c' },
    ];
    for (const [name, body] of actions) {
      expect(parseAction(body, clusters, 'an-id').dryRun, name).to.equal(true);
    }
  });

  it('cover every type of action', () => {
    expect([...actions.values()].map((action) => (action as { type: string }).type)).to.have.members([
      ...actionTypes,
    ]);
  });
});

describe('the example calls, by the real gcloud and curl', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'gcloud', 'curl', 'jq');
  });

  for (const client of ['gcloud', 'curl']) {
    it(`${client} calls the function with an identity token and shows its answer`, async () => {
      const { result, lines } = await callWith(client, 'cordon.json');
      expect(result.code, result.stderr).to.equal(0);
      expect(result.stdout).to.include('would_cordon');
      const received = toLogEntry(lines.find((line) => line.includes('"received"')) ?? '{}', 'failover');
      expect(received.jsonPayload).to.include({
        caller: 'oncall@my-project.iam.gserviceaccount.com',
        type: 'cordon_nodepool',
        dry_run: true,
      });
    });
  }

  it('with gcloud, which hides a refusal, the log shows the reason', async () => {
    const { result, lines } = await callWith('gcloud', 'cordon-and-repair.json');
    expect(result.code).to.equal(1);
    expect(result.stderr)
      .to.match(/404 Client Error/)
      .and.include('refused, or failed; the log of action');
    const [, query = ''] =
      /^gcloud logging read (.+) --project my-project --freshness 1h/m.exec(result.stderr) ?? [];
    const shown = lines.map((line) => toLogEntry(line, 'failover')).filter(parseLoggingQuery(query));
    expect(shown.map(({ jsonPayload }) => jsonPayload?.['event'])).to.include.members([
      'received',
      'refused',
    ]);
  });

  it('with curl, the reason of a refusal is shown', async () => {
    const { result } = await callWith('curl', 'cordon-and-repair.json');
    expect(result.code).to.equal(22);
    expect(result.stdout).to.include('"code":"target_not_found"');
  });

  function callWith(client: string, action: string) {
    return onEmulatedGke(async ({ deployed }) => {
      const cloud = await serveGoogleCloud({ functionUri: deployed.url });
      const name = 'projects/my-project/locations/us-central1/functions/failover';
      cloud.resources.set(name, {
        name,
        environment: 'GEN_2',
        state: 'ACTIVE',
        serviceConfig: { uri: deployed.url },
      });
      const bin = await writeGcloudWithoutLogging();
      try {
        const env = {
          ...cloud.environment,
          // A proxy would also get the calls of the function.
          CLOUDSDK_PROXY_TYPE: undefined,
          CLOUDSDK_PROXY_ADDRESS: undefined,
          CLOUDSDK_PROXY_PORT: undefined,
          PATH: `${bin}:${process.env['PATH']}`,
        };
        const script = `deploy/examples/call-with-${client}.sh`;
        const args = ['my-project', 'us-central1', 'failover', `deploy/examples/actions/${action}`];
        return { result: await run(script, args, { env }), lines: deployed.lines() };
      } finally {
        await cloud.close();
        await rm(bin, { recursive: true });
      }
    });
  }
});

/** The real gcloud, except `gcloud logging`, which always goes to Google: that only prints its arguments. */
async function writeGcloudWithoutLogging(): Promise<string> {
  const bin = await mkdtemp(join(tmpdir(), 'bin-'));
  const { stdout: gcloud } = await run('which', ['gcloud']);
  const script = `#!/bin/sh\nif [ "$1" = logging ]; then echo gcloud "$@"; else exec ${gcloud.trim()} "$@"; fi\n`;
  await writeFile(join(bin, 'gcloud'), script, { mode: 0o755 });
  return bin;
}

describe('the example for kind', () => {
  const pool = 'cloud.google.com/gke-nodepool';
  let cluster: { name: string; nodes: { role: string; labels?: Record<string, string> }[] };
  let jobSet: JobSet;
  before(async () => {
    const read = async (name: string) =>
      parse(await readFile(join(examples, 'kind', name), 'utf8')) as unknown;
    cluster = (await read('cluster.yaml')) as typeof cluster;
    jobSet = (await read('jobset.yaml')) as JobSet;
  });

  it('has two pools, each with room for the whole JobSet', () => {
    const pools = cluster.nodes.flatMap(({ labels }) => labels?.[pool] ?? []);
    const { parallelism } = jobSet.spec.replicatedJobs[0].template.spec;
    expect(pools.filter((name) => name === 'slice-a')).to.have.lengthOf(parallelism);
    expect(pools.filter((name) => name === 'slice-b')).to.have.lengthOf(parallelism);
    expect(jobSet.metadata.annotations['alpha.jobset.sigs.k8s.io/exclusive-topology']).to.equal(pool);
  });

  it('has a JobSet that restarts when its leader is deleted', () => {
    const { completions, parallelism, backoffLimit } = jobSet.spec.replicatedJobs[0].template.spec;
    expect(jobSet.spec.failurePolicy.maxRestarts).to.be.at.least(1);
    expect(backoffLimit).to.equal(0);
    expect(completions).to.equal(parallelism);
  });

  it('works with the call on its page', async () => {
    const page = await readFile(join(examples, 'kind/README.md'), 'utf8');
    const [, body = ''] = /-d '(\{[^']+\})'/.exec(page) ?? [];
    const clusters = [
      {
        fullName: 'projects/local/locations/local/clusters/kind',
        projectId: 'local',
        location: 'local',
        name: 'kind',
      },
    ];
    const action = parseAction(JSON.parse(body), clusters, 'an-id');
    expect(action).to.include({
      jobSetName: jobSet.metadata.name,
      nodePool: 'slice-a',
      namespace: 'default',
      dryRun: true,
    });
    expect(page).to.include(`kind-${cluster.name}`).and.include(`kind delete cluster --name ${cluster.name}`);
  });

  it('creates the namespace and the Lease from files that exist', async () => {
    const page = await readFile(join(examples, 'kind/README.md'), 'utf8');
    const files = [...page.matchAll(/-f (deploy\/\S+)|--config (deploy\/\S+)/g)].map(
      ([, file, config]) => file ?? config ?? '',
    );
    expect(files).to.have.lengthOf(4);
    for (const file of files) {
      const documents = parseAllDocuments(await readFile(join(root, file), 'utf8'));
      expect(
        documents.every(({ errors }) => errors.length === 0),
        file,
      ).to.equal(true);
    }
  });
});

interface JobSet {
  metadata: { name: string; annotations: Record<string, string> };
  spec: {
    failurePolicy: { maxRestarts: number };
    replicatedJobs: [
      { template: { spec: { parallelism: number; completions: number; backoffLimit: number } } },
    ];
  };
}
