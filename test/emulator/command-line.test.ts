import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { EmulatedCluster } from './cluster.ts';
import { Emulator } from './emulator.ts';
import { createDemoWorld, demoCluster } from './scenario.ts';
import { serveEmulator } from './server.ts';
import type { EmulatorServer } from './server.ts';

const execute = promisify(execFile);
const system = 'autometric-failover-system';

/** The emulator, used through real tools. */
describe('kubectl and gcloud on the emulator', () => {
  let emulator: Emulator;
  let cluster: EmulatedCluster;
  let server: EmulatorServer;
  let environment: NodeJS.ProcessEnv;

  beforeEach(async () => {
    emulator = new Emulator();
    cluster = createDemoWorld(emulator);
    server = await serveEmulator(emulator, { reconcileEveryMs: 20 });
    environment = { ...process.env, ...server.environment, KUBECONFIG: await server.kubeconfig(cluster) };
  });
  afterEach(() => server.close());

  const run = async (command: string, ...args: string[]): Promise<string> =>
    (await execute(command, args, { env: environment })).stdout.trim();
  const lines = async (command: string, ...args: string[]): Promise<string[]> =>
    (await run(command, ...args)).split('\n');

  describe('kubectl', () => {
    before(skipUnlessInstalled('kubectl'));
    const kubectl = (...args: string[]): Promise<string> => run('kubectl', ...args);

    it('gets nodes, pods, JobSets and Leases', async () => {
      const [nodes, pods, jobSets, leases] = await Promise.all([
        lines('kubectl', 'get', 'nodes'),
        lines('kubectl', 'get', 'pods', '-o', 'wide', '--all-namespaces'),
        lines('kubectl', 'get', 'jobsets'),
        lines('kubectl', 'get', 'leases', '-n', system),
      ]);
      expect(nodes).to.have.length(35);
      expect(nodes[0]).to.match(/^NAME +STATUS +ROLES +AGE +VERSION$/);
      expect(nodes[1]).to.match(/^gke-demo-default-pool-\S+ +Ready +<none> +\d+s +v1\.\d+/);
      expect(pods).to.have.length(17);
      expect(pods[1]).to.match(/^default +train-workers-0-0-\S+ +1\/1 +Running +0 +\d+s +\S+ +gke-tpu-/);
      expect(jobSets[1]).to.match(/^train +0 +false +\d+s$/);
      expect(leases[1]).to.match(/^cluster +\d+s$/);
    });

    it('cordons and uncordons, and owns the cordon', async () => {
      const [name = ''] = cluster.nodes('slice-a').map(({ metadata }) => metadata.name);
      expect(await kubectl('cordon', name)).to.equal(`node/${name} cordoned`);
      const node = () => cluster.get('nodes', undefined, name);
      expect(node()?.spec.unschedulable).to.equal(true);
      const managers = node()?.metadata.managedFields?.map(
        ({ manager, operation }) => `${manager} ${operation}`,
      );
      expect(managers).to.include('kubectl Update');
      expect(await kubectl('get', 'node', name)).to.contain('Ready,SchedulingDisabled');
      expect(await kubectl('cordon', name)).to.equal(`node/${name} already cordoned`);
      expect(await kubectl('uncordon', name)).to.equal(`node/${name} uncordoned`);
      expect(node()?.spec).not.to.have.property('unschedulable');
    });

    it('describes a node with its pods, and Events', async () => {
      const node = cluster.pods()[0]?.spec.nodeName ?? '';
      const event = {
        reason: 'FailoverActionTriggered',
        message: 'Failover action triggered: cordon_nodepool: test',
      };
      const involvedObject = { kind: 'Node', name: node, uid: node, apiVersion: 'v1' };
      const body = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: 'e' },
        involvedObject,
        ...event,
        type: 'Warning',
      };
      expect(cluster.ask('POST', '/api/v1/namespaces/default/events', body).status).to.equal(201);
      const [described, events] = await Promise.all([
        kubectl('describe', 'node', node),
        kubectl('get', 'events'),
      ]);
      expect(described).to.contain('cloud.google.com/gke-tpu-topology=8x8').and.contain('train-workers-0-');
      expect(described).to.match(/Warning +FailoverActionTriggered/);
      expect(events).to.contain('Failover action triggered: cordon_nodepool: test');
    });

    it('annotates the Lease that pauses all actions', async () => {
      await kubectl('annotate', 'lease', 'cluster', '-n', system, 'autometric-failover/paused=maintenance');
      const annotations = () => cluster.get('leases', system, 'cluster')?.metadata.annotations;
      expect(annotations()).to.include({ 'autometric-failover/paused': 'maintenance' });
      await kubectl('annotate', 'lease', 'cluster', '-n', system, 'autometric-failover/paused-');
      expect(annotations()).to.equal(undefined);
    });

    it('applies a JobSet twice, then on the server side, waits for its pod, and deletes it', async () => {
      const path = join(dirname(server.publicCaPath), 'jobset.json');
      await writeFile(path, JSON.stringify(jobSet));
      expect(await kubectl('apply', '-f', path)).to.equal('jobset.jobset.x-k8s.io/other created');
      expect(await kubectl('apply', '-f', path)).to.match(
        /^jobset.jobset.x-k8s.io\/other (unchanged|configured)$/,
      );
      const serverSide = ['apply', '--server-side', '--force-conflicts', '-f', path];
      expect(await kubectl(...serverSide)).to.equal('jobset.jobset.x-k8s.io/other serverside-applied');
      const selector = 'jobset.sigs.k8s.io/jobset-name=other';
      await kubectl('wait', 'pod', '-l', selector, '--for=condition=Ready', '--timeout=10s');
      expect(await kubectl('delete', 'jobset', 'other')).to.equal('jobset.jobset.x-k8s.io "other" deleted');
      await kubectl('wait', 'pod', '-l', selector, '--for=delete', '--timeout=10s');
      expect(cluster.jobsets().map(({ metadata }) => metadata.name)).to.deep.equal(['train']);
    });

    it('shows the error of the server', async () => {
      const error = await run('kubectl', 'get', 'node', 'none').catch(({ stderr }: { stderr: string }) =>
        stderr.trim(),
      );
      expect(error).to.equal('Error from server (NotFound): nodes "none" not found');
    });
  });

  describe('gcloud', () => {
    before(skipUnlessInstalled('gcloud'));

    it('describes a cluster and lists and deletes machines', async () => {
      const [single = ''] = cluster.addTpuSlice('single', { topology: '2x2', stopSeconds: 0 });
      const [described, instances] = await Promise.all([
        run(
          'gcloud',
          'container',
          'clusters',
          'describe',
          'demo',
          '--region=us-central1',
          '--format=value(endpoint)',
        ),
        lines(
          'gcloud',
          'compute',
          'instances',
          'list',
          '--format=csv[no-heading](name,zone.basename(),status)',
        ),
        run('gcloud', 'compute', 'instances', 'delete', single, '--zone=us-central1-a'),
      ]);
      expect(described).to.equal(cluster.endpoints.ip);
      const slice = cluster.nodes('slice-a').map(({ metadata: { name } }) => `${name},us-central1-a,RUNNING`);
      expect(instances).to.include.members(slice);
      expect(emulator.fleet.deletions.map(({ instance }) => instance.name)).to.deep.equal([single]);
      expect(emulator.requests.every(({ cluster: of = demoCluster }) => of === demoCluster)).to.equal(true);
    });

    it('lists the operations of GKE, and describes a pool that it works on', async () => {
      const turnOff = cluster.switches.upgradePool('slice-a');
      const [operations, [status]] = await Promise.all([
        lines(
          'gcloud',
          'container',
          'operations',
          'list',
          '--location=us-central1',
          '--filter=status=RUNNING',
          '--format=csv[no-heading](operationType,targetLink.basename())',
        ),
        lines(
          'gcloud',
          'container',
          'node-pools',
          'describe',
          'slice-a',
          '--cluster=demo',
          '--location=us-central1',
          '--format=value(status)',
        ),
      ]);
      turnOff();
      expect(operations).to.deep.equal(['UPGRADE_NODES,slice-a']);
      expect(status).to.equal('RECONCILING');
    });
  });
});

const jobSet = {
  apiVersion: 'jobset.x-k8s.io/v1alpha2',
  kind: 'JobSet',
  metadata: { name: 'other', namespace: 'default' },
  spec: {
    failurePolicy: { maxRestarts: 1 },
    replicatedJobs: [
      {
        name: 'w',
        template: { spec: { template: { spec: { containers: [{ name: 'main', image: 'train:latest' }] } } } },
      },
    ],
  },
};

function skipUnlessInstalled(command: string): Mocha.AsyncFunc {
  return async function () {
    const isInstalled = await execute('which', [command]).then(
      () => true,
      () => false,
    );
    if (isInstalled) return;
    console.log(`  not run: ${command} is not installed`);
    this.skip();
  };
}
