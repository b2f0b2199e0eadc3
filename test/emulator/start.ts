// The function on a port, with an emulated GKE behind it, for curl and kubectl.
import { styleText } from 'node:util';
import { FunctionDidNotStart } from '../function-did-not-start.ts';
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

console.log(`
The function listens on ${url}, for this machine only. Behind it is an emulated GKE cluster,
${cluster.name}, with two TPU slices and a JobSet. To paste:

  export KUBECONFIG=${kubeconfig}
  kubectl get nodes -L cloud.google.com/gke-nodepool
  kubectl get pods,jobsets -o wide
  kubectl get leases -n autometric-failover-system

  curl -s ${url}/actions -H 'Content-Type: application/json' -d '{"type": "cordon_nodepool_and_restart_jobset",
    "jobset_name": "train", "requestor": "me", "reason": "trying it", "dry_run": true}'

The function's log follows. Ctrl-C ends it.
`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stack.stop().finally(() => process.exit(0)));
}
