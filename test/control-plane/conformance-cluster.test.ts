import { ControlPlaneUnavailable } from './build-programs.ts';
import { describeConformance } from './conformance.ts';
import type { ConformanceTarget } from './conformance-target.ts';
import { externalClusterVariable, startControlPlane } from './control-plane.ts';
import type { ControlPlane } from './capabilities.ts';
import { connectExternalCluster } from './external-cluster.ts';
import { createKwokMachines } from './kwok-machines.ts';
import { createWorld } from './world.ts';

const stranger = 'stranger@example.com';

describeConformance('a real control plane', () =>
  unlessUnavailable(async () => toTarget(await startControlPlane())),
);

describeConformance('an API server alone, as envtest has it, by its kubeconfig', () =>
  unlessUnavailable(async () => {
    if (process.env[externalClusterVariable]) {
      return `${externalClusterVariable} is set: that cluster was enough`;
    }
    const started = await startControlPlane({ apiOnly: true });
    const target = toTarget(await connectExternalCluster(started.kubeconfigPath));
    return { ...target, stop: () => target.stop().then(() => started.stop()) };
  }),
);

function toTarget(controlPlane: ControlPlane): ConformanceTarget {
  const { admin, can, skips, url, ca } = controlPlane;
  for (const skip of skips) console.log(`  not run: ${skip}`);
  return {
    url,
    ca,
    client: admin,
    createWorld: () => createWorld(admin, createKwokMachines(admin, can.runJobSets)),
    can,
    ...(can.beAnyone && { strangersToken: { user: stranger, token: controlPlane.token(stranger) } }),
    stop: () => controlPlane.stop(),
  };
}

async function unlessUnavailable<T>(start: () => Promise<T>): Promise<T | string> {
  try {
    return await start();
  } catch (error) {
    if (error instanceof ControlPlaneUnavailable) return error.message;
    throw error;
  }
}
