// Runs `npm run test:cluster` on the oldest and on the newest Kubernetes and JobSet that there are modules of: `npm run test:versions`.
// The first run builds them, which takes 8 to 14 minutes each on two cores.
import { spawnSync } from 'node:child_process';
import { testedPairs } from './versions.ts';

const failed = testedPairs.filter(({ KUBERNETES, JOBSET }) => {
  console.log(`\nKubernetes ${KUBERNETES} with JobSet ${JOBSET}`);
  const { status } = spawnSync('npm', ['run', '--silent', 'test:cluster'], {
    stdio: 'inherit',
    env: { ...process.env, KUBERNETES, JOBSET },
  });
  return status !== 0;
});
for (const { KUBERNETES, JOBSET } of failed) {
  console.error(`failed: KUBERNETES=${KUBERNETES} JOBSET=${JOBSET} npm run test:cluster`);
}
process.exitCode = failed.length > 0 ? 1 : 0;
