#!/usr/bin/env bash
# Prints the Kubernetes manifests for one service account and the namespaces whose JobSets it may restart.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/rbac.sh --email E-MAIL --unique-id NUMBER [--namespaces NAME,NAME] [--acceptance]

Prints what the function needs inside a cluster: its own namespace, the Lease "cluster", and its rights. Apply it to
every cluster:

  deploy/rbac.sh --email ... --unique-id ... --namespaces default,research | kubectl --context CONTEXT apply -f -

  --email       of the function's service account
  --unique-id   of the same: gcloud iam service-accounts describe E-MAIL --format='value(uniqueId)'
  --namespaces  of the JobSets, as in ALLOWED_NAMESPACES (default: default); they must exist
  --acceptance  also the rights for tests of repaired pools that are CronJobs (docs/api.md, Acceptance): to make Jobs in its
                own namespace

Whoever applies it must be allowed to grant these rights (roles/container.admin, or cluster-admin).
EOF
}

main() {
  local email='' unique_id='' namespaces='default' acceptance=false
  while (($#)); do
    case $1 in
      -h | --help) usage && return ;;
      --email) email=${2-} ;;
      --unique-id) unique_id=${2-} ;;
      --namespaces) namespaces=${2-} ;;
      --acceptance) acceptance=true && shift && continue ;;
      *) fail "unknown option $1; deploy/rbac.sh --help lists them" ;;
    esac
    (($# > 1)) || fail "$1 needs a value"
    shift 2
  done
  [[ $email =~ ^[a-z0-9.-]+@[a-z0-9.-]+$ ]] || fail "--email must be the service account's e-mail, not \"$email\""
  [[ $unique_id =~ ^[0-9]+$ ]] || fail "--unique-id must be the service account's number, not \"$unique_id\""
  command -v kubectl >/dev/null || fail 'kubectl is not installed'
  render "$email" "$unique_id" "$namespaces" "$acceptance"
}

# Kustomize takes bases by relative path only, so this makes a copy with the overlay beside them.
render() {
  local email=$1 unique_id=$2 namespaces=$3 acceptance=$4 rbac overlay namespace
  rbac=$(cd "$(dirname "${BASH_SOURCE[0]}")/rbac" && pwd)
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp -R "$rbac/." "$copy"
  overlay=$copy/overlays/rendered
  mkdir "$overlay"

  cat >"$overlay/kustomization.yaml" <<'EOF'
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
components: [../../subjects]
resources:
  - ../../base
  - service-account.yaml
EOF
  [[ $acceptance == false ]] || echo '  - ../../acceptance' >>"$overlay/kustomization.yaml"
  cat >"$overlay/service-account.yaml" <<EOF
apiVersion: v1
kind: ConfigMap
metadata:
  name: service-account
  annotations: { config.kubernetes.io/local-config: 'true' }
data:
  email: '$email'
  uniqueId: '$unique_id'
EOF
  while IFS= read -r namespace; do
    [[ $namespace =~ ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$ ]] || fail "\"$namespace\" is not the name of a namespace"
    mkdir -p "$overlay/$namespace"
    cat >"$overlay/$namespace/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources: [../../../training-namespace]
EOF
    echo "  - $namespace" >>"$overlay/kustomization.yaml"
  done < <(tr ',' '\n' <<<"$namespaces")

  kubectl kustomize "$overlay"
}

fail() {
  echo "deploy/rbac.sh: $1" >&2
  exit 1
}

main "$@"
