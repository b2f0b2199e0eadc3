// The function on a port, with a real control plane behind it, for curl and kubectl.
import { styleText } from 'node:util';
import { ControlPlaneUnavailable } from './build-programs.ts';
import { startControlPlane } from './control-plane.ts';
import { CLUSTER, createFailoverBench } from './failover-bench.ts';
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';
import { describeWorld } from '../fixtures/lines-to-paste.ts';
import { startFunctionProcess } from './function-process.ts';

// Until all is up there is nothing to end in order: no program outlives this process.
let stop = (): void => process.exit(130);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop());

try {
  await serve();
} catch (error) {
  if (error instanceof ControlPlaneUnavailable) {
    console.error(`there is no control plane to start: ${error.message}; npm start has an emulated one`);
  } else if (error instanceof FunctionDidNotStart) console.error(error.message);
  else throw error;
  process.exitCode = 1;
}

async function serve(): Promise<void> {
  const controlPlane = await startControlPlane();
  try {
    const bench = await createFailoverBench(controlPlane);
    for (const pool of ['slice-a', 'slice-b']) {
      await bench.world.addTpuSlice(pool, { nodes: 4 });
      // The second slice comes later, so that the JobSet is on the first.
      if (pool === 'slice-a') {
        await bench.world.addJobSet({ name: 'train', parallelism: 4 });
        await bench.allRunOn('train', pool, 4);
      }
    }
    const failover = await startFunctionProcess(bench.environment, {
      port: Number(process.env['PORT'] || 8080),
      onLogLine: (line) => console.log(process.stdout.isTTY ? styleText('dim', line) : line),
    });
    const behind = `a real control plane,\n${CLUSTER}, with two TPU slices and a JobSet, and nothing but\nthe rights of deploy/rbac.`;
    console.log(describeWorld(failover.url, behind, controlPlane.kubeconfigPath));
    await Promise.race([new Promise<void>((resolve) => (stop = resolve)), failover.exited]);
    await failover.kill();
    await bench.close();
  } finally {
    await controlPlane.stop();
  }
}
