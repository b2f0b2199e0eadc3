#!/usr/bin/env bash
# Sends an action with curl and an identity token. A service account needs a token for the function: see the comment below.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/examples/call-with-curl.sh PROJECT REGION FUNCTION ACTION_FILE

Sends an action with curl and an identity token, and shows whatever the function answers.
It needs gcloud and curl.

  deploy/examples/call-with-curl.sh my-project us-central1 autometric-failover deploy/examples/actions/cordon.json

The examples in deploy/examples/actions are dry runs.
EOF
}

for argument; do
  case $argument in -h | --help) usage && exit ;; esac
done
if (($# != 4)); then
  usage >&2
  exit 2
fi
for program in gcloud curl; do
  command -v "$program" >/dev/null || { echo "call-with-curl.sh: $program is not installed" >&2 && exit 1; }
done

project=$1 region=$2 function=$3 action=$4

uri=$(gcloud functions describe "$function" --gen2 --project "$project" --region "$region" \
  --format 'value(serviceConfig.uri)')

# A person's token. A service account adds: --audiences "$uri" (and a person may impersonate it:
# --impersonate-service-account EMAIL).
token=$(gcloud auth print-identity-token)

# The header comes from a file descriptor, so that the token is in no list of processes.
curl --silent --show-error --fail-with-body --max-time 300 \
  --header @<(echo "Authorization: Bearer $token") \
  --header 'Content-Type: application/json' \
  --data @"$action" \
  "$uri/actions"
