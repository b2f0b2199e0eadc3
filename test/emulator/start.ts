// The function on a port, with an emulated GKE behind it, for curl and kubectl.
import { FunctionDidNotStart } from '../fixtures/function-did-not-start.ts';
import { readPort } from '../fixtures/read-port.ts';
import { printLogLine } from '../fixtures/terminal-log.ts';
import { describeUsage } from '../fixtures/usage-text.ts';
import { startLocalStack } from './local-stack.ts';

const stopped = new Promise<undefined>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(undefined));
});
const port = readPort();
const stack = await startLocalStack({ port, onLogLine: printLogLine }).catch((error: unknown) => {
  if (!(error instanceof FunctionDidNotStart)) throw error;
  console.error(error.message);
  return process.exit(1);
});
const { cluster, server, url } = stack;
const kubeconfig = await server.kubeconfig(cluster);

const behind = `an emulated GKE cluster,\n${cluster.name}, with two TPU slices and a JobSet.`;
console.log(describeUsage(url, behind, kubeconfig, server.switchesUrl));

const end = await Promise.race([stack.exited, stopped]);
if (end !== undefined) console.error(`the function ended (${end})`);
await stack.stop();
process.exit(end === undefined ? 0 : 1);
