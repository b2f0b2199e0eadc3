output "alert_actions" {
  description = "What alerts may ask for (ALERT_ACTIONS)."
  value       = local.alert_actions
}

output "dashboard_id" {
  description = "The dashboard, projects/P/dashboards/D; null where there is none."
  value       = one(google_monitoring_dashboard.this[*].id)
}

output "dead_letter_subscription" {
  description = "The subscription that keeps alerts nobody took; null without Pub/Sub."
  value       = one(google_pubsub_subscription.dead_letters[*].id)
}

output "dry_run_command" {
  description = "A first dry run to paste, once rbac_command has run: gcloud calls the function, which says what it would cordon and changes nothing. Put a node pool for POOL."
  value       = "gcloud functions call ${google_cloudfunctions2_function.this["failover"].name} --gen2 --project ${var.project_id} --region ${var.region} --data '{\"type\": \"cordon_nodepool\", \"cluster\": \"${split("/", var.clusters[0])[5]}\", \"node_pool\": \"POOL\", \"requestor\": \"me\", \"reason\": \"first try\", \"dry_run\": true}'"
}

output "function_name" {
  description = "For gcloud functions call."
  value       = google_cloudfunctions2_function.this["failover"].name
}

output "function_uri" {
  description = "Where to post actions (with /actions) and, behind IAM, notifications (with /alerts); also the audience of the identity token."
  value       = local.function_uri
}

output "notification_channel" {
  description = "The channel that calls the function, for alert policies made elsewhere; null where no action was asked for."
  value       = one(concat(google_monitoring_notification_channel.pubsub[*].name, google_monitoring_notification_channel.webhook[*].name))
}

output "proxy_command" {
  description = "Opens the function on localhost:8080 for whoever is one of invokers; curl and a browser then need no token."
  value       = "gcloud run services proxy ${google_cloudfunctions2_function.this["failover"].name} --project ${var.project_id} --region ${var.region}"
}

output "rbac_command" {
  description = "Gives the function its rights inside a cluster; once for each, with its kubectl context."
  value       = "${path.module}/../deploy/rbac.sh --email ${google_service_account.runtime.email} --unique-id ${google_service_account.runtime.unique_id} --namespaces ${join(",", sort(var.allowed_namespaces))} | kubectl --context CONTEXT apply -f -"
}

output "service_account_email" {
  description = "Who the function is, for RBAC in the clusters."
  value       = google_service_account.runtime.email
}

output "service_account_unique_id" {
  description = "The same as a number; GKE takes it for the name where a token lacks the e-mail scope."
  value       = google_service_account.runtime.unique_id
}

output "service_accounts" {
  description = "The e-mail addresses of the service accounts: runtime, build, and where they are made push (Pub/Sub) and tick (Cloud Scheduler)."
  value = merge(
    { runtime = google_service_account.runtime.email, build = google_service_account.build.email },
    { for a in google_service_account.push : "push" => a.email },
    { for a in google_service_account.reconcile : "tick" => a.email },
  )
}

output "status_uri" {
  description = "Where viewers look: /status, /actions; null without viewers."
  value       = try(google_cloudfunctions2_function.this["status"].service_config[0].uri, null)
}

output "topic" {
  description = "The topic of the notifications, projects/P/topics/T; null without Pub/Sub. Anyone who can publish there can trigger every action in alert_actions."
  value       = one(google_pubsub_topic.alerts[*].id)
}

output "webhook_uri" {
  description = "Where the webhook is; null without one."
  value       = var.webhook == null ? null : "${google_cloudfunctions2_function.this["webhook"].service_config[0].uri}/alerts"
}
