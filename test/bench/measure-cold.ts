import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EmulatorProcess } from './emulator-process.ts';
import { startFunction } from './function-process.ts';
import type { FunctionSpec } from './function-process.ts';
import { median } from './result.ts';
import type { Result } from './result.ts';

const root = join(import.meta.dirname, '../..');

/**
 * Measures a cold start: from the spawn of the buildpack's start command until the first action is answered, against a
 * bare functions-framework that says hello, in turn.
 */
export async function measureCold(
  emulator: EmulatorProcess,
  source: string,
  runs: number,
  progress: (run: number) => void,
): Promise<Result[]> {
  const hello = writeHello();
  const measured = { hello: newSamples(), cordon: newSamples(), repair: newSamples() };
  try {
    for (let run = 0; run < runs; run++) {
      progress(run);
      await addSample(measured.hello, { source: hello, target: 'hello' }, {});
      for (const [kind, type] of [
        ['cordon', 'cordon_nodepool'],
        ['repair', 'cordon_and_repair_nodepool'],
      ] as const) {
        const environment = await emulator.build({});
        const action = { requestor: 'bench', reason: 'bench', type, node_pool: 'slice-a' };
        await addSample(measured[kind], { source, target: 'failover', environment }, action);
      }
    }
  } finally {
    rmSync(hello, { recursive: true });
  }
  const helloMs = median(measured.hello.ms);
  const helloMb = median(measured.hello.mb);
  const cordonMs = median(measured.cordon.ms);
  const repairMs = median(measured.repair.ms);
  const coldMb = median(measured.cordon.mb);
  return [
    {
      name: 'cold-cordon',
      value: cordonMs,
      unit: 'ms',
      reference: helloMs,
      ratio: cordonMs / helloMs,
      goal: 'ratio <= 3.6',
      what: 'spawn → first cordon answered; against a bare functions-framework that says hello',
    },
    {
      name: 'cold-repair',
      value: repairMs,
      unit: 'ms',
      reference: helloMs,
      ratio: repairMs / helloMs,
      goal: `ratio <= ${Number((cordonMs / helloMs + 0.5).toFixed(2))}`,
      what: 'spawn → first cordon and repair answered; the goal is cold-cordon + 0.5',
    },
    {
      name: 'cold-rss',
      value: coldMb,
      unit: 'MB',
      reference: helloMb,
      ratio: coldMb / helloMb,
      goal: null,
      what: 'most memory until the first cordon was answered; against hello',
    },
  ];
}

interface Samples {
  ms: number[];
  mb: number[];
}

function newSamples(): Samples {
  return { ms: [], mb: [] };
}

async function addSample(samples: Samples, spec: FunctionSpec, body: unknown): Promise<void> {
  const started = await startFunction(spec);
  const answer = await started.post(body);
  samples.ms.push(started.elapsedMs());
  samples.mb.push(started.peakRssMb());
  await started.stop();
  if (answer.status !== 200) {
    throw new Error(`the action failed: ${JSON.stringify(answer.body)}\n${started.output()}`);
  }
}

/** The function that the framework's own guide begins with, as a package of its own. */
function writeHello(): string {
  const directory = mkdtempSync(join(tmpdir(), 'hello-'));
  writeFileSync(
    join(directory, 'package.json'),
    JSON.stringify({ name: 'hello', version: '1.0.0', main: 'index.js' }),
  );
  writeFileSync(
    join(directory, 'index.js'),
    `require('@google-cloud/functions-framework').http('hello', (request, response) => response.send('hello'));\n`,
  );
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}
