#!/usr/bin/env bash
# Deploys the function with gcloud: service accounts, the custom role, the function, its callers and, if wanted, the way
# for alerts. It can be repeated with the same options: it keeps what is there already, or brings it up to date. It takes
# nothing away that an earlier run with other options has granted or made; --no-alerts is the one exception.
set -euo pipefail
# gcloud must not ask anything: the script gives each answer.
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

usage() {
  cat <<'EOF'
Usage: deploy/deploy.sh --project ID --region REGION --clusters NAME[,NAME] [options]

  --project ID         of the function
  --region REGION      of the function
  --clusters NAMES     it may act on: projects/P/locations/L/clusters/C, separated by commas

  --name NAME          of the function, and the beginning of all other names (default: autometric-failover)
  --namespaces NAMES   of the JobSets it may restart (default: default)
  --actions TYPES      allowed, separated by commas (default: all five; docs/api.md)
  --approval TYPES     whose plan somebody else than the caller must approve before anything is done
  --alerts TYPES       also take Cloud Monitoring's alerts, which may trigger these actions
  --no-alerts          take no alerts any more: delete the subscription that an earlier --alerts made
  --reconcile          have Cloud Scheduler call it once a minute, so that every action ends in a verdict
  --invoker MEMBER     who may call it: user:..., group:..., serviceAccount:...; may be given again
  --viewer MEMBER      who may look and not act: also deploys NAME-status, which only shows; may be given again
  --set KEY=VALUE      another setting, such as MAX_POOLS_PER_HOUR=1; may be given again
  --archive WHERE      of a release, instead of this checkout: a file, or gs://BUCKET/OBJECT.zip
  --ingress WHERE      all (default; behind IAM), internal-only or internal-and-gclb
  --vpc-connector NAME for clusters whose private endpoint is to be used, with --set GKE_ENDPOINT=private
  --no-condition       do not narrow the custom role to machines of GKE (deploy/gcp-role-condition.yaml)
  --dry-run            print the commands, and run none
  -h, --help           print this

Use this or Terraform for one function, not both. The public webhook, direct VPC egress, the dashboard and the alerts about
the function itself are in terraform/ only.
EOF
}

# What src/config.ts accepts. A build takes two minutes, so a typing error is better found before it.
ACTION_TYPES=(cordon_nodepool cordon_nodepool_and_restart_jobset cordon_and_repair_nodepool repair_nodepool
  uncordon_nodepool)
# What --set takes. Other options set the rest.
SETTINGS=(COOLDOWN_SECONDS MAX_POOLS_PER_HOUR MAX_ATTEMPTS_PER_DAY MAX_ALERT_AGE_SECONDS ACTION_DEADLINE_SECONDS
  APPROVAL_TTL_SECONDS LOG_RULES
  CORDON_CONCURRENCY RECOVERY_TIMEOUT_SECONDS REPAIR_TIMEOUT_SECONDS RESUME_WITHIN_SECONDS ACCEPT_TIMEOUT_SECONDS
  GKE_ENDPOINT
  CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE)

main() {
  local project='' region='' clusters='' name=autometric-failover namespaces=default actions='' alerts='' approval=''
  local ingress=all vpc_connector='' archive='' source='' condition=true dry_run=false reconcile=false no_alerts=false channel=''
  local -a invokers=() viewers=() settings=() new_accounts=()
  parse "$@"
  check

  local root member
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  local runtime=$name@$project.iam.gserviceaccount.com
  local build=$name-build@$project.iam.gserviceaccount.com
  local tick=$name-tick@$project.iam.gserviceaccount.com
  local push=$name-push@$project.iam.gserviceaccount.com

  check_way_of_alerts
  enable_apis
  local number
  number=$(look_up PROJECT_NUMBER projects describe "$project" --format 'value(projectNumber)')

  ensure_service_account "$name" 'Autometric failover: the function'
  ensure_service_account "$name-build" 'Autometric failover: its build'
  grant_cluster_rights
  grant_build_rights
  wait_for_new_build_rights
  deploy_function "$name" failover
  for member in "${invokers[@]+"${invokers[@]}"}"; do
    allow_call "$name" "$member"
  done
  show_to_viewers
  [[ -z $alerts ]] || route_alerts
  [[ $no_alerts == false ]] || stop_alerts
  [[ $reconcile == false ]] || schedule_reconcile
  print_next_steps
}

# Sets main's variables.
parse() {
  while (($#)); do
    case $1 in
      -h | --help) usage && exit ;;
      --no-condition) condition=false && shift && continue ;;
      --dry-run) dry_run=true && shift && continue ;;
      --reconcile) reconcile=true && shift && continue ;;
      --no-alerts) no_alerts=true && shift && continue ;;
    esac
    (($# > 1)) || fail "$1 needs a value, or is unknown; deploy/deploy.sh --help lists the options"
    case $1 in
      --project) project=$2 ;;
      --region) region=$2 ;;
      --clusters) clusters=$2 ;;
      --name) name=$2 ;;
      --namespaces) namespaces=$2 ;;
      --actions) actions=$2 ;;
      --approval) approval=$2 ;;
      --alerts) alerts=$2 ;;
      --invoker) invokers+=("$2") ;;
      --viewer) viewers+=("$2") ;;
      --set) settings+=("$2") ;;
      --ingress) ingress=$2 ;;
      --archive) archive=$2 ;;
      --vpc-connector) vpc_connector=$2 ;;
      *) fail "unknown option $1; deploy/deploy.sh --help lists them" ;;
    esac
    shift 2
  done
}

check() {
  local value
  [[ -n $project && -n $region && -n $clusters ]] || fail '--project, --region and --clusters are required; see --help'
  [[ $name =~ ^[a-z][a-z0-9-]{4,22}[a-z0-9]$ ]] || fail '--name must have 6 to 24 lower-case letters, digits and dashes'
  while IFS= read -r value; do
    [[ $value =~ ^projects/[^/]+/locations/[^/]+/clusters/[^/]+$ ]] ||
      fail "--clusters has \"$value\", which is not projects/P/locations/L/clusters/C"
  done < <(split "$clusters")
  for value in "${invokers[@]+"${invokers[@]}"}"; do
    [[ $value =~ ^(user|group|serviceAccount|principal|principalSet):.+ ]] ||
      fail "--invoker $value: the function deletes machines, so name people, groups or service accounts"
  done
  for value in "${viewers[@]+"${viewers[@]}"}"; do
    [[ $value =~ ^(user|group|serviceAccount|principal|principalSet):.+ ]] ||
      fail "--viewer $value: the function shows what runs where, so name people, groups or service accounts"
  done
  for value in "${settings[@]+"${settings[@]}"}"; do
    [[ $value =~ ^[A-Za-z_]+=[^\;]+$ ]] || fail "--set $value is not KEY=VALUE"
    is_one_of "${value%%=*}" "${SETTINGS[@]}" ||
      fail "--set does not take ${value%%=*}; it takes: ${SETTINGS[*]}"
  done
  check_types --actions "$actions"
  check_types --approval "$approval"
  check_types --alerts "$alerts"
  check_archive
  [[ $no_alerts == false || -z $alerts ]] || fail '--alerts and --no-alerts exclude one another'
  [[ $dry_run == true ]] || command -v gcloud >/dev/null || fail 'gcloud is not installed'
}

check_archive() {
  [[ -n $archive && ! $archive =~ ^gs://[a-z0-9._-]+/.+\.zip$ ]] || return 0
  [[ $archive == *.zip && -f $archive ]] ||
    fail "--archive $archive is neither gs://BUCKET/OBJECT.zip nor a zip that is there"
  command -v unzip >/dev/null || fail 'unzip is not installed, which --archive needs for a file'
}

check_types() {
  local option=$1 value
  [[ -n $2 ]] || return 0
  while IFS= read -r value; do
    is_one_of "$value" "${ACTION_TYPES[@]}" ||
      fail "$option has \"$value\", which is not a type of action; the types are: ${ACTION_TYPES[*]}"
  done < <(split "$2")
}

is_one_of() {
  local value=$1 candidate
  shift
  for candidate; do
    [[ $candidate != "$value" ]] || return 0
  done
  return 1
}

# What alerts may do is a setting, and each deployment sets all settings anew. Without it, alerts that still arrive would be
# decided about by accident.
check_way_of_alerts() {
  [[ -z $alerts && $no_alerts == false ]] || return 0
  ! exists pubsub subscriptions describe "$name-alerts" --project "$project" ||
    fail "alerts arrive here through the subscription $name-alerts: repeat --alerts TYPES, or end that with --no-alerts"
}

enable_apis() {
  # The service account's calls to GKE and Compute Engine count in its own project, so they are enabled here too.
  run services enable artifactregistry.googleapis.com cloudbuild.googleapis.com cloudfunctions.googleapis.com \
    cloudresourcemanager.googleapis.com cloudscheduler.googleapis.com compute.googleapis.com \
    container.googleapis.com iam.googleapis.com logging.googleapis.com monitoring.googleapis.com pubsub.googleapis.com \
    run.googleapis.com storage.googleapis.com --project "$project"
}

ensure_service_account() {
  local id=$1 display_name=$2
  exists iam service-accounts describe "$id@$project.iam.gserviceaccount.com" --project "$project" && return
  run iam service-accounts create "$id" --display-name "$display_name" --project "$project"
  new_accounts+=("$id")
}

# The role of gcp-role.yaml, in each project that has a cluster.
grant_cluster_rights() {
  local cluster_project role=${name//-/_}
  local -a condition_flag=(--condition None)
  [[ $condition == false ]] || condition_flag=(--condition-from-file "$root/deploy/gcp-role-condition.yaml")
  while IFS= read -r cluster_project; do
    if exists iam roles describe "$role" --project "$cluster_project"; then
      # Without an etag gcloud would ask; the file is the whole role.
      run iam roles update "$role" --project "$cluster_project" --file "$root/gcp-role.yaml" --quiet
    else
      run iam roles create "$role" --project "$cluster_project" --file "$root/gcp-role.yaml" --quiet
    fi
    bind projects add-iam-policy-binding "$cluster_project" --member "serviceAccount:$runtime" \
      --role "projects/$cluster_project/roles/$role" "${condition_flag[@]}"
  done < <(split "$clusters" | cut -d / -f 2 | sort -u)
}

# A build runs the scripts of every dependency, so it reads the function's sources and no other bucket of the project.
grant_build_rights() {
  local sources="resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-$number-$region\")"
  [[ $archive != gs://* ]] || sources+=" || resource.name.startsWith(\"projects/_/buckets/$(cut -d / -f 3 <<<"$archive")\")"
  bind projects add-iam-policy-binding "$project" --member "serviceAccount:$build" \
    --role roles/logging.logWriter --condition None
  bind projects add-iam-policy-binding "$project" --member "serviceAccount:$build" \
    --role roles/artifactregistry.writer --condition None
  bind projects add-iam-policy-binding "$project" --member "serviceAccount:$build" \
    --role roles/storage.objectViewer --condition "expression=$sources,title=function-sources-only"
}

# A right takes a minute or more to arrive everywhere, and a build without its rights fails.
wait_for_new_build_rights() {
  local seconds=${PROPAGATION_SECONDS:-90}
  is_one_of "$name-build" "${new_accounts[@]+"${new_accounts[@]}"}" || return 0
  [[ $dry_run == false ]] || return 0
  echo "waiting $seconds s for the rights of the build to arrive" >&2
  sleep "$seconds"
}

# Deploys one entry point of the sources, with all settings.
deploy_function() {
  local function_name=$1 entry_point=$2 environment setting
  # Lists have commas, so gcloud is told another separator.
  # Less room for young objects: a cordon of 2,304 nodes takes a seventh less memory, and no longer.
  environment="^;^LOG_EXECUTION_ID=true;NODE_OPTIONS=--max-semi-space-size=4;GOOGLE_CLOUD_PROJECT=$project;CLUSTERS=$clusters;ALLOWED_NAMESPACES=$namespaces"
  [[ -z $actions ]] || environment+=";ALLOWED_ACTIONS=$actions"
  [[ -z $approval ]] || environment+=";APPROVAL_ACTIONS=$approval"
  [[ -z $alerts ]] || environment+=";ALERT_ACTIONS=$alerts"
  for setting in "${settings[@]+"${settings[@]}"}"; do
    environment+=";$setting"
  done
  find_source
  local -a egress=()
  [[ -z $vpc_connector ]] || egress=(--vpc-connector "$vpc_connector" --egress-settings private-ranges-only)
  run functions deploy "$function_name" --gen2 --project "$project" --region "$region" \
    --runtime nodejs24 --runtime-update-policy automatic --entry-point "$entry_point" --source "$source" \
    --trigger-http --no-allow-unauthenticated --ingress-settings "$ingress" \
    --run-service-account "$runtime" --build-service-account "projects/$project/serviceAccounts/$build" \
    --cpu 1 --memory 512Mi --concurrency 10 --min-instances 0 --max-instances 3 --timeout 300s \
    --set-env-vars "$environment" "${egress[@]+"${egress[@]}"}"
}

# Sets main's variable, once. gcloud takes a folder, or an archive in a bucket.
find_source() {
  [[ -z $source ]] || return 0
  source=${archive:-$root}
  [[ $source == *.zip && $source != gs://* ]] || return 0
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  unzip -q "$archive" -d "$unpacked"
  source=$unpacked
}

allow_call() {
  bind functions add-invoker-policy-binding "$1" --project "$project" --region "$region" --member "$2"
}

# roles/run.invoker cannot tell those who look from those who act, so a function of its own shows. One that is there already is
# brought up to date, because it reads what the new version of the other one writes.
show_to_viewers() {
  local member
  if ((${#viewers[@]} == 0)); then
    exists functions describe "$name-status" --gen2 --project "$project" --region "$region" || return 0
  fi
  deploy_function "$name-status" failoverStatus
  for member in "${viewers[@]+"${viewers[@]}"}"; do
    allow_call "$name-status" "$member"
  done
}

# Policy -> channel -> topic -> push subscription -> /alerts, each delivery with an OIDC token; what no delivery got through
# is kept on the dead-letter topic.
route_alerts() {
  local uri topic=$name-alerts dead=$name-dead-letters topic_name
  local pubsub_agent=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
  local monitoring_agent=serviceAccount:service-$number@gcp-sa-monitoring-notification.iam.gserviceaccount.com
  uri=$(look_up https://FUNCTION_URI functions describe "$name" --gen2 --project "$project" --region "$region" \
    --format 'value(serviceConfig.uri)')

  ensure_service_account "$name-push" "Autometric failover: Pub/Sub's calls to it"
  allow_call "$name" "serviceAccount:$push"

  for topic_name in "$topic" "$dead"; do
    exists pubsub topics describe "$topic_name" --project "$project" ||
      run pubsub topics create "$topic_name" --project "$project"
  done
  exists pubsub subscriptions describe "$dead" --project "$project" ||
    run pubsub subscriptions create "$dead" --topic "$dead" --project "$project" \
      --expiration-period never --message-retention-duration 7d

  # The time an answer is waited for is above the function's time-out; a stale alert is dropped after an hour.
  local -a subscription=(--project "$project"
    --push-endpoint "$uri/alerts" --push-auth-service-account "$push" --push-auth-token-audience "$uri"
    --ack-deadline 600 --message-retention-duration 1h --expiration-period never
    --min-retry-delay 10s --max-retry-delay 60s --dead-letter-topic "$dead" --max-delivery-attempts 20)
  if exists pubsub subscriptions describe "$topic" --project "$project"; then
    run pubsub subscriptions update "$topic" "${subscription[@]}"
  else
    run pubsub subscriptions create "$topic" --topic "$topic" "${subscription[@]}"
  fi
  bind pubsub topics add-iam-policy-binding "$dead" --project "$project" \
    --member "$pubsub_agent" --role roles/pubsub.publisher
  bind pubsub subscriptions add-iam-policy-binding "$topic" --project "$project" \
    --member "$pubsub_agent" --role roles/pubsub.subscriber

  channel=$(find_channel '')
  if [[ -z $channel ]]; then
    run beta monitoring channels create --project "$project" --type pubsub \
      --display-name "$name (Pub/Sub)" --channel-labels "topic=projects/$project/topics/$topic"
    channel=$(find_channel "projects/$project/notificationChannels/NUMBER")
  fi
  # Monitoring's agent comes into being with the project's first Pub/Sub channel, and nobody grants it anything by itself.
  bind pubsub topics add-iam-policy-binding "$topic" --project "$project" \
    --member "$monitoring_agent" --role roles/pubsub.publisher
}

# The topic and the channel stay, because policies name them; what they publish is dropped.
stop_alerts() {
  if [[ $dry_run == true ]] || exists pubsub subscriptions describe "$name-alerts" --project "$project"; then
    run pubsub subscriptions delete "$name-alerts" --project "$project"
  fi
}

# The job calls as its own service account, which may call this function and nothing else. The next minute is the retry.
schedule_reconcile() {
  local uri verb=create
  uri=$(look_up https://FUNCTION_URI functions describe "$name" --gen2 --project "$project" --region "$region" \
    --format 'value(serviceConfig.uri)')
  ensure_service_account "$name-tick" "Autometric failover: Cloud Scheduler's calls to it"
  allow_call "$name" "serviceAccount:$tick"
  ! exists scheduler jobs describe "$name-reconcile" --project "$project" --location "$region" || verb=update
  run scheduler jobs "$verb" http "$name-reconcile" --project "$project" --location "$region" \
    --schedule '* * * * *' --time-zone Etc/UTC --uri "$uri/reconcile" --http-method POST \
    --oidc-service-account-email "$tick" --oidc-token-audience "$uri" --attempt-deadline 300s --max-retry-attempts 0
}

find_channel() {
  look_up "$1" beta monitoring channels list --project "$project" --format 'value(name)' \
    --filter "type=\"pubsub\" AND labels.topic=\"projects/$project/topics/$name-alerts\""
}

print_next_steps() {
  local unique_id outcome=Deployed.
  [[ $dry_run == false ]] || outcome='Dry run: nothing was run, and nothing is deployed. After the deployment:'
  unique_id=$(look_up UNIQUE_ID iam service-accounts describe "$runtime" --project "$project" --format 'value(uniqueId)')
  cat <<EOF

$outcome Give it its rights inside each cluster, once:

  deploy/rbac.sh --email $runtime --unique-id $unique_id --namespaces $namespaces | kubectl --context CONTEXT apply -f -

Then try a dry run:

  gcloud functions call $name --gen2 --project $project --region $region \\
    --data '{"type": "cordon_nodepool", "node_pool": "POOL", "requestor": "${USER:-me}", "reason": "first try", "dry_run": true}'
EOF
  ((${#viewers[@]} == 0)) || cat <<EOF

Viewers need no token. This line, then http://localhost:8080/status and http://localhost:8080/actions:

  gcloud run services proxy $name-status --project $project --region $region
EOF
  [[ -z $alerts ]] || cat <<EOF

Alert policies call it through the notification channel "$name (Pub/Sub)", with the label failover_action:

  gcloud alpha monitoring policies create --project $project --notification-channels=$channel \\
    --policy-from-file=deploy/examples/policies/slice-unavailable.yaml
EOF
}

# Runs gcloud and says so, or in a dry run prints the plan.
run() {
  if [[ $dry_run == true ]]; then
    print_command "$@"
  else
    print_command "$@" >&2
    gcloud "$@" --format none </dev/null
  fi
}

print_command() {
  printf '+ gcloud'
  printf ' %q' "$@"
  printf '\n'
}

# Runs gcloud for an IAM binding. It tries again, because a new service account is not known everywhere at once, and an agent of
# Google's is not there for a minute after its API was enabled or its first channel was made.
bind() {
  local attempt attempts=12
  for ((attempt = 1; attempt <= attempts; attempt++)); do
    run "$@" && return
    ((attempt == attempts)) || sleep "${RETRY_SECONDS:-10}"
  done
  return 1
}

exists() {
  [[ $dry_run == false ]] && gcloud "$@" --format none </dev/null >/dev/null 2>&1
}

# Prints what gcloud says, or in a dry run the first argument.
look_up() {
  local placeholder=$1
  shift
  if [[ $dry_run == true ]]; then echo "$placeholder"; else gcloud "$@" </dev/null; fi
}

split() {
  tr ',' '\n' <<<"$1"
}

fail() {
  echo "deploy/deploy.sh: $1" >&2
  exit 1
}

main "$@"
