import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { root, run } from './run.ts';
import type { CommandResult } from './run.ts';
import { serveSchemaProviders } from './schema-providers.ts';
import { uploadList } from './upload-list.ts';

/** One run of a test file of Terraform: whether it passed, and all that was there afterwards. */
export interface TestRun {
  /** file/run */
  name: string;
  status: string;
  resources: Resource[];
  outputs: Record<string, { value: unknown }>;
}
export interface Resource {
  address: string;
  type: string;
  name: string;
  index?: string | number;
  values: Record<string, unknown>;
}

let testing: ReturnType<typeof testTerraform> | undefined;

/** What the module's own tests left behind, run once for all suites; `report` is what a person would read of failures. */
export function terraformTests(): ReturnType<typeof testTerraform> {
  return (testing ??= testTerraform());
}

/** The state after a run of the module's own tests. */
export async function stateAfter(name: string): Promise<TestRun> {
  const { runs, report } = await terraformTests();
  const run = runs.find((each) => each.name === name);
  if (!run) throw new Error(`terraform test has no run ${name}: ${report}`);
  return run;
}

/** The one resource at an address, as applied. */
export function resourceOf(run: TestRun, address: string): Record<string, unknown> {
  const resource = run.resources.find((each) => each.address === address);
  if (!resource) {
    throw new Error(`${run.name} has no ${address}: ${run.resources.map((r) => r.address).join(', ')}`);
  }
  return resource.values;
}

async function testTerraform(): Promise<{ runs: TestRun[]; report: string; sources: string[] }> {
  const terraform = await createTerraform();
  const sources = await uploadList();
  try {
    const { stdout, stderr } = await terraform.run('test', '-json', '-verbose');
    return { ...readTestEvents(stdout, stderr), sources };
  } finally {
    await terraform.close();
  }
}

/** The real terraform on the module, offline: with providers that only know their schemas, and a data folder of its own. */
export async function createTerraform() {
  const providers = await serveSchemaProviders();
  const dataDirectory = await mkdtemp(join(tmpdir(), 'terraform-'));
  const cwd = join(root, 'terraform');
  const environment = {
    ...providers.environment,
    TF_CLI_CONFIG_FILE: '/dev/null',
    CHECKPOINT_DISABLE: '1',
    TF_IN_AUTOMATION: '1',
    TF_DATA_DIR: dataDirectory,
  };
  const terraform = (...args: string[]): Promise<CommandResult> =>
    run('terraform', args, { cwd, env: environment });
  await terraform('init', '-input=false');
  return {
    run: terraform,
    async close() {
      providers.close();
      await rm(dataDirectory, { recursive: true, force: true });
    },
  };
}

interface TestEvent {
  type: string;
  '@testfile'?: string;
  '@testrun'?: string;
  test_run?: { progress: string; status?: string };
  test_state?: State;
  diagnostic?: { summary: string; detail: string };
}
interface State {
  root_module: { resources?: Resource[]; child_modules?: { resources?: Resource[] }[] };
  outputs?: TestRun['outputs'];
}

/** Reads the events of `terraform test -json -verbose`: one run's state follows its completion. */
function readTestEvents(stdout: string, stderr: string): { runs: TestRun[]; report: string } {
  const runs = new Map<string, TestRun>();
  const problems = stderr.trim() ? [stderr.trim()] : [];
  for (const line of stdout.split('\n').filter(Boolean)) {
    const event = JSON.parse(line) as TestEvent;
    const name = `${basename(event['@testfile'] ?? '', '.tftest.hcl')}/${event['@testrun'] ?? ''}`;
    if (event.test_run?.progress === 'complete') {
      runs.set(name, { name, status: event.test_run.status ?? '', resources: [], outputs: {} });
    }
    if (event.test_state) Object.assign(runs.get(name) ?? {}, toRunState(event.test_state));
    if (event.diagnostic) problems.push(`${name}: ${event.diagnostic.summary}: ${event.diagnostic.detail}`);
  }
  return { runs: [...runs.values()], report: problems.join('\n') };
}

function toRunState({ root_module: module, outputs = {} }: State): Pick<TestRun, 'resources' | 'outputs'> {
  const children = (module.child_modules ?? []).flatMap(({ resources = [] }) => resources);
  return { resources: [...(module.resources ?? []), ...children], outputs };
}
