import { spawnSync } from 'node:child_process';
import { ControlPlaneUnavailable } from './build-programs.ts';
import { startControlPlane } from './control-plane.ts';
import type { ControlPlane } from './capabilities.ts';

/** Starts a control plane that runs JobSets and knows any user, or skips the suite with one line that says why. */
export async function startOrSkip(context: Mocha.Context, suite: string): Promise<ControlPlane> {
  const skip = (why: string): never => {
    console.log(`  not run: ${suite}, for ${why}`);
    return context.skip();
  };
  // It may have to be built first.
  context.timeout(3_600_000);
  if (spawnSync('kubectl', ['version', '--client']).error) {
    return skip('kubectl is not installed, which renders its rights');
  }
  const controlPlane = await startControlPlane().catch((error: unknown) => {
    if (!(error instanceof ControlPlaneUnavailable)) throw error;
    return skip(error.message);
  });
  if (controlPlane.can.runJobSets && controlPlane.can.beAnyone) return controlPlane;
  await controlPlane.stop();
  return skip('the cluster that was given runs no JobSets, or has one user only');
}
