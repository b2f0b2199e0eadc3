# From an alert policy to the function: policy -> channel -> topic -> push subscription -> ${uri}/alerts, each delivery
# with an OIDC token. What no delivery got through ends on the dead-letter topic, where it is kept and alerted on.

locals {
  alert_actions = sort(distinct(concat(
    [for p in var.alert_policies : p.action],
    [for p in var.alert_policies : p.on_close if p.on_close != null],
    [for p in var.alert_policies : p.on_failure if p.on_failure != null],
    [for p in var.alert_policies : "uncordon_nodepool" if p.uncordon_when_repaired],
    [for r in var.log_rules : lookup(r.labels, "failover_action", "")],
    [for r in var.log_rules : r.labels["failover_on_failure"] if contains(keys(r.labels), "failover_on_failure")],
    [for r in var.log_rules : "uncordon_nodepool" if lookup(r.labels, "failover_uncordon_when_repaired", "") == "true"],
    flatten([for r in var.log_rules : ["cordon_and_repair_nodepool", "uncordon_nodepool"] if lookup(r.labels, "failover_when_no_spare", "") == "repair"]),
    flatten([for p in var.alert_policies : ["cordon_and_repair_nodepool", "uncordon_nodepool"] if p.when_no_spare == "repair"]),
    tolist(var.additional_alert_actions),
  )))
  takes_alerts = length(local.alert_actions) > 0
  pubsub_count = local.takes_alerts && var.webhook == null ? 1 : 0

  function_uri = google_cloudfunctions2_function.this["failover"].service_config[0].uri
  # Google's agents of this project.
  pubsub_agent     = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  monitoring_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
}

resource "google_monitoring_alert_policy" "failover" {
  for_each = var.alert_policies

  project      = var.project_id
  display_name = coalesce(each.value.display_name, "${var.name}: ${each.key}")
  enabled      = each.value.enabled
  combiner     = each.value.combiner
  severity     = each.value.severity
  notification_channels = concat(
    google_monitoring_notification_channel.pubsub[*].name,
    google_monitoring_notification_channel.webhook[*].name,
    each.value.notification_channels,
  )

  # They arrive with each notification and say what is to be done.
  user_labels = merge(
    each.value.user_labels,
    { failover_action = each.value.action },
    { for k, v in {
      failover_on_close               = each.value.on_close
      failover_on_failure             = each.value.on_failure
      failover_uncordon_when_repaired = each.value.uncordon_when_repaired ? "true" : null
      failover_accept                 = each.value.accept
      failover_approval               = each.value.approval
      failover_repair                 = each.value.repair
      failover_fault                  = each.value.fault
      failover_restart_grace_seconds  = each.value.restart_grace_seconds == null ? null : tostring(each.value.restart_grace_seconds)
      failover_jobset                 = each.value.jobset
      failover_namespace              = each.value.namespace
      failover_cluster                = each.value.cluster
      failover_dry_run                = each.value.dry_run ? "true" : null
      failover_expected_node_counts   = each.value.expected_node_counts ? "true" : null
      failover_spare_capacity         = each.value.spare_capacity ? "true" : null
      failover_when_no_spare          = each.value.when_no_spare
    } : k => v if v != null },
  )

  dynamic "conditions" {
    for_each = each.value.conditions
    content {
      display_name = conditions.value.display_name

      dynamic "condition_threshold" {
        for_each = conditions.value.threshold[*]
        content {
          filter                  = condition_threshold.value.filter
          comparison              = condition_threshold.value.comparison
          threshold_value         = condition_threshold.value.threshold_value
          duration                = condition_threshold.value.duration
          evaluation_missing_data = condition_threshold.value.evaluation_missing_data
          dynamic "trigger" {
            for_each = condition_threshold.value.trigger_count[*]
            content {
              count = trigger.value
            }
          }
          dynamic "aggregations" {
            for_each = condition_threshold.value.aggregations
            content {
              alignment_period     = aggregations.value.alignment_period
              per_series_aligner   = aggregations.value.per_series_aligner
              cross_series_reducer = aggregations.value.cross_series_reducer
              group_by_fields      = aggregations.value.group_by_fields
            }
          }
        }
      }

      dynamic "condition_absent" {
        for_each = conditions.value.absent[*]
        content {
          filter   = condition_absent.value.filter
          duration = condition_absent.value.duration
          dynamic "aggregations" {
            for_each = condition_absent.value.aggregations
            content {
              alignment_period     = aggregations.value.alignment_period
              per_series_aligner   = aggregations.value.per_series_aligner
              cross_series_reducer = aggregations.value.cross_series_reducer
              group_by_fields      = aggregations.value.group_by_fields
            }
          }
        }
      }

      dynamic "condition_matched_log" {
        for_each = conditions.value.matched_log[*]
        content {
          filter           = condition_matched_log.value.filter
          label_extractors = condition_matched_log.value.label_extractors
        }
      }

      dynamic "condition_prometheus_query_language" {
        for_each = conditions.value.promql[*]
        content {
          query               = condition_prometheus_query_language.value.query
          duration            = condition_prometheus_query_language.value.duration
          evaluation_interval = condition_prometheus_query_language.value.evaluation_interval
        }
      }
    }
  }

  alert_strategy {
    auto_close = each.value.auto_close
    # The close is told only where something is to be done then. Log matches take no prompts, and need the rate limit.
    notification_prompts = anytrue([for c in each.value.conditions : c.matched_log != null]) ? null : each.value.on_close == null ? ["OPENED"] : ["OPENED", "CLOSED"]
    dynamic "notification_rate_limit" {
      for_each = anytrue([for c in each.value.conditions : c.matched_log != null]) ? [1] : []
      content {
        period = each.value.notification_rate_limit
      }
    }
  }

  dynamic "documentation" {
    for_each = each.value.documentation[*]
    content {
      content   = documentation.value
      mime_type = "text/markdown"
    }
  }

  # A policy that fires before its channel may publish is an incident that nobody hears of.
  depends_on = [google_pubsub_topic_iam_member.monitoring, google_pubsub_subscription.alerts]
}

resource "google_pubsub_topic" "alerts" {
  count = local.pubsub_count

  project = var.project_id
  name    = "${var.name}-alerts"
  labels  = var.labels

  depends_on = [time_sleep.apis]
}

resource "google_monitoring_notification_channel" "pubsub" {
  count = local.pubsub_count

  project      = var.project_id
  display_name = "${var.name} (Pub/Sub)"
  description  = "Calls the function ${var.name}: it acts on what the policy's failover_ labels say."
  type         = "pubsub"
  labels       = { topic = google_pubsub_topic.alerts[0].id }
  user_labels  = var.labels
}

# The agent comes into being with the project's first Pub/Sub channel, and nobody grants it anything by itself.
resource "google_pubsub_topic_iam_member" "monitoring" {
  count = local.pubsub_count

  project = var.project_id
  topic   = google_pubsub_topic.alerts[0].name
  role    = "roles/pubsub.publisher"
  member  = local.monitoring_agent

  depends_on = [time_sleep.agents]
}

resource "google_pubsub_subscription" "alerts" {
  count = local.pubsub_count

  project = var.project_id
  name    = "${var.name}-alerts"
  topic   = google_pubsub_topic.alerts[0].id
  labels  = var.labels

  # For push this is how long an answer is waited for; the function's time-out is below it.
  ack_deadline_seconds = 600
  # An alert of yesterday must not be acted on today.
  message_retention_duration = "3600s"

  expiration_policy {
    ttl = ""
  }

  push_config {
    push_endpoint = "${local.function_uri}/alerts"
    oidc_token {
      service_account_email = google_service_account.push[0].email
      # Cloud Run takes its own address and nothing behind it.
      audience = local.function_uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "60s"
  }

  # Five attempts, the least there is, would be over in the minute that an action of another request may take.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters[0].id
    max_delivery_attempts = 20
  }

  depends_on = [google_cloud_run_service_iam_member.push]
}

resource "google_service_account" "push" {
  count = local.pubsub_count

  project      = var.project_id
  account_id   = "${var.name}-push"
  display_name = "Autometric failover: Pub/Sub's calls to it"

  depends_on = [time_sleep.apis]
}

resource "google_cloud_run_service_iam_member" "push" {
  count = local.pubsub_count

  project  = var.project_id
  location = var.region
  service  = google_cloudfunctions2_function.this["failover"].name
  role     = "roles/run.invoker"
  member   = google_service_account.push[0].member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.this["failover"].id]
  }
}

resource "google_service_account_iam_member" "token_creator" {
  count = var.grant_token_creator ? local.pubsub_count : 0

  service_account_id = google_service_account.push[0].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent

  depends_on = [time_sleep.agents]
}

resource "google_pubsub_topic" "dead_letters" {
  count = local.pubsub_count

  project = var.project_id
  name    = "${var.name}-dead-letters"
  labels  = var.labels

  depends_on = [time_sleep.apis]
}

# Without a subscription a topic forgets at once.
resource "google_pubsub_subscription" "dead_letters" {
  count = local.pubsub_count

  project                    = var.project_id
  name                       = "${var.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters[0].id
  labels                     = var.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

# Both are needed: to put a message there, and to take it away here.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  count = local.pubsub_count

  project = var.project_id
  topic   = google_pubsub_topic.dead_letters[0].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent

  depends_on = [time_sleep.agents]
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  count = local.pubsub_count

  project      = var.project_id
  subscription = google_pubsub_subscription.alerts[0].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent

  depends_on = [time_sleep.agents]
}
