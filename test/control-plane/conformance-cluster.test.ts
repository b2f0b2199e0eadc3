import { ControlPlaneUnavailable } from './build-programs.ts';
import { describeConformance } from './conformance.ts';
import { startControlPlane } from './control-plane.ts';
import { createKwokMachines } from './kwok-machines.ts';
import { createWorld } from './world.ts';

const STRANGER = 'stranger@example.com';

describeConformance('a real control plane', async () => {
  try {
    const { admin, skips, ...controlPlane } = await startControlPlane();
    for (const skip of skips) console.log(`  not run: ${skip}`);
    return {
      ...controlPlane,
      client: admin,
      createWorld: () => createWorld(admin, createKwokMachines(admin, controlPlane.can.runJobSets)),
      ...(controlPlane.can.beAnyone && {
        strangersToken: { user: STRANGER, token: controlPlane.token(STRANGER) },
      }),
      everyRestart: true,
    };
  } catch (error) {
    if (error instanceof ControlPlaneUnavailable) return error.message;
    throw error;
  }
});
