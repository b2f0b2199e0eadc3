#!/usr/bin/env bash
# Sends an action with curl and an identity token, and shows whatever the function answers:
#
#   deploy/examples/call-with-curl.sh PROJECT REGION FUNCTION deploy/examples/actions/cordon.json
#
# The examples are dry runs. For a service account, the token must be made for the function's address: see the comment.
set -euo pipefail

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
