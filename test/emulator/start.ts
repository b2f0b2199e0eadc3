// The function on a port, with an emulated GKE behind it, for curl and kubectl.
import { styleText } from 'node:util';
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';
import { describeWorld } from '../fixtures/lines-to-paste.ts';
import { startLocalStack } from './local-stack.ts';

const port = Number(process.env['PORT'] || 8080);
const stack = await startLocalStack({
  port,
  onLogLine: (line) => console.log(process.stdout.isTTY ? styleText('dim', line) : line),
}).catch((error: unknown) => {
  if (!(error instanceof FunctionDidNotStart)) throw error;
  console.error(error.message);
  return process.exit(1);
});
const { cluster, server, url } = stack;
const kubeconfig = await server.kubeconfig(cluster);

const behind = `an emulated GKE cluster,\n${cluster.name}, with two TPU slices and a JobSet.`;
console.log(describeWorld(url, behind, kubeconfig));

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stack.stop().finally(() => process.exit(0)));
}
