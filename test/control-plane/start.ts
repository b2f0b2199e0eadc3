// The function on a port, with a real control plane behind it, for curl and kubectl.
import { ControlPlaneUnavailable } from './build-programs.ts';
import { startControlPlane } from './control-plane.ts';
import { clusterFullName, createFailoverRig } from './failover-rig.ts';
import { startCloudScheduler } from '../fixtures/cloud-scheduler.ts';
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';
import { startFunctionProcess } from '../fixtures/function-process.ts';
import { readPort } from '../fixtures/read-port.ts';
import { printLogLine } from '../fixtures/terminal-log.ts';
import { describeUsage } from '../fixtures/usage-text.ts';

// During the start it can just exit, because no program outlives this process.
let stop = (): void => process.exit(130);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop());

const port = readPort();
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
    const rig = await createFailoverRig(controlPlane);
    for (const pool of ['slice-a', 'slice-b']) {
      await rig.world.addTpuSlice(pool, { nodes: 4 });
      // The second slice is added later, so that the JobSet runs on the first.
      if (pool === 'slice-a') {
        await rig.world.addJobSet({ name: 'train', parallelism: 4 });
        await rig.allRunOn('train', pool, 4);
      }
    }
    const failover = await startFunctionProcess(rig.environment, {
      port,
      onLogLine: printLogLine,
    });
    const scheduler = startCloudScheduler(failover.url, 1000);
    const behind = `a real control plane,\n${clusterFullName}, with two TPU slices and a JobSet, and nothing but\nthe rights of deploy/rbac.`;
    console.log(describeUsage(failover.url, behind, controlPlane.kubeconfigPath));
    const stopped = new Promise<undefined>((resolve) => (stop = () => resolve(undefined)));
    const end = await Promise.race([failover.exited, stopped]);
    if (end !== undefined) {
      console.error(`the function ended (${end})`);
      process.exitCode = 1;
    }
    await scheduler.stop();
    await failover.kill();
    await rig.close();
  } finally {
    await controlPlane.stop();
  }
}
