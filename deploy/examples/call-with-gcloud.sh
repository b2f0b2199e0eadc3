#!/usr/bin/env bash
# Sends an action with gcloud:
#
#   deploy/examples/call-with-gcloud.sh PROJECT REGION FUNCTION deploy/examples/actions/cordon.json
#
# The examples are dry runs. gcloud does not show what the function says when it refuses, so this looks it up in the log.
set -euo pipefail

project=$1 region=$2 function=$3 action=$4

# The id is what the log is searched by, and what makes it safe to send the same action again.
id=$(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)
data=$(jq --arg id "$id" '{id: $id} + .' "$action")

gcloud functions call "$function" --gen2 --project "$project" --region "$region" --data "$data" && exit

echo "refused, or failed; the log of action $id says (it may take a few seconds to get there):" >&2
gcloud logging read "resource.labels.service_name=\"$function\" AND labels.action_id=\"$id\"" \
  --project "$project" --freshness 1h --order asc --format 'value(timestamp, severity, jsonPayload.message)' >&2
exit 1
