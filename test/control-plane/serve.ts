/** `node test/control-plane/serve.ts`: a control plane for experiments, until Ctrl-C. */
import { startControlPlane } from './control-plane.ts';

const controlPlane = await startControlPlane();
console.log(`export KUBECONFIG=${controlPlane.kubeconfigPath}`);
console.error('# kubectl works with it now; Ctrl-C ends it and leaves nothing behind');
// The programs do not keep this process alive by themselves.
const alive = setInterval(() => {}, 2 ** 30);
await new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
});
await controlPlane.stop();
clearInterval(alive);
