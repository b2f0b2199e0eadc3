/** What `npm start` and its like print: what listens where, and lines to paste. */
export function describeWorld(url: string, behind: string, kubeconfig: string): string {
  return `
The function listens on ${url}, for this machine only. Behind it is ${behind}
To paste:

  export KUBECONFIG=${kubeconfig}
  kubectl get nodes -L cloud.google.com/gke-nodepool
  kubectl get pods,jobsets -o wide
  kubectl get leases -n autometric-failover-system

  curl -s ${url}/actions -H 'Content-Type: application/json' -d '{"type": "cordon_nodepool_and_restart_jobset",
    "jobset_name": "train", "requestor": "me", "reason": "trying it", "dry_run": true}'

The function's log follows. Ctrl-C ends it.
`;
}
