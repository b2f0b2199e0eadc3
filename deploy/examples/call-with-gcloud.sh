#!/usr/bin/env bash
# Sends an action with gcloud, and shows from the log why the function refused it.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: deploy/examples/call-with-gcloud.sh PROJECT REGION FUNCTION ACTION_FILE

Sends an action with gcloud. gcloud does not show what the function says when it refuses, so this looks it up in the log.
It needs gcloud and jq.

  deploy/examples/call-with-gcloud.sh my-project us-central1 autometric-failover deploy/examples/actions/cordon.json

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
for program in gcloud jq; do
  command -v "$program" >/dev/null || { echo "call-with-gcloud.sh: $program is not installed" >&2 && exit 1; }
done

project=$1 region=$2 function=$3 action=$4

# The id is what the log is searched by, and what makes it safe to send the same action again.
id=$(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)
data=$(jq --arg id "$id" '{id: $id} + .' "$action")

gcloud functions call "$function" --gen2 --project "$project" --region "$region" --data "$data" && exit

echo "refused, or failed; the log of action $id says (it may take a few seconds to get there):" >&2
gcloud logging read "resource.labels.service_name=\"$function\" AND labels.action_id=\"$id\"" \
  --project "$project" --freshness 1h --order asc --format 'value(timestamp, severity, jsonPayload.message)' >&2
exit 1
