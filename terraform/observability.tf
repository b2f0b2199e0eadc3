# What an operator sees of the function: metrics out of its log lines, and the alerts about the function itself. The last
# line of a request has `outcome`; its fields are listed in docs/runbook.md.

locals {
  service_names = [for f in local.functions : f.name]
  # A list in the Logging query language.
  services_of_log = "resource.labels.service_name=(${join(" OR ", [for n in local.service_names : "\"${n}\""])})"
  lines           = "resource.type=\"cloud_run_revision\" AND ${local.services_of_log}"
  last_lines      = "${local.lines} AND jsonPayload.outcome:*"
  verdict_lines   = "${local.lines} AND jsonPayload.event=\"verdict\""
  # The same list in Cloud Monitoring's filters.
  services_of_metric = "resource.labels.service_name = one_of(${join(", ", [for n in local.service_names : "\"${n}\""])})"
}

resource "google_logging_metric" "actions" {
  project     = var.project_id
  name        = "${var.name}/actions"
  description = "Requests that ended, by type of action and outcome"
  filter      = local.last_lines

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels {
      key         = "type"
      description = "Type of action; empty where the request named none"
    }
    labels {
      key         = "outcome"
      description = "done, replayed, awaiting_approval, rejected, ignored, refused or failed"
    }
    labels {
      key         = "dry_run"
      description = "true where nothing was to be changed"
    }
  }
  label_extractors = {
    type    = "EXTRACT(jsonPayload.type)"
    outcome = "EXTRACT(jsonPayload.outcome)"
    dry_run = "EXTRACT(jsonPayload.dry_run)"
  }

  depends_on = [time_sleep.apis]
}

resource "google_logging_metric" "duration" {
  project     = var.project_id
  name        = "${var.name}/duration"
  description = "How long requests took, by type of action and outcome"
  filter      = local.last_lines

  value_extractor = "EXTRACT(jsonPayload.duration_ms)"
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
    labels {
      key         = "type"
      description = "Type of action; empty where the request named none"
    }
    labels {
      key         = "outcome"
      description = "done, replayed, awaiting_approval, rejected, ignored, refused or failed"
    }
  }
  label_extractors = {
    type    = "EXTRACT(jsonPayload.type)"
    outcome = "EXTRACT(jsonPayload.outcome)"
  }

  # From 10 ms to above the function's time-out.
  bucket_options {
    exponential_buckets {
      scale              = 10
      growth_factor      = 1.5
      num_finite_buckets = 28
    }
  }

  depends_on = [time_sleep.apis]
}

# What became of each action. A reconcile writes one such line for each verdict.
resource "google_logging_metric" "verdicts" {
  project     = var.project_id
  name        = "${var.name}/verdicts"
  description = "What became of actions, by type of action and verdict"
  filter      = local.verdict_lines

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    labels {
      key         = "type"
      description = "Type of action"
    }
    labels {
      key         = "verdict"
      description = "recovered, repaired, reported, run_ended, not_recovered, not_repaired, report_failed, not_reported, not_accepted or abandoned"
    }
  }
  label_extractors = {
    type    = "EXTRACT(jsonPayload.type)"
    verdict = "EXTRACT(jsonPayload.verdict)"
  }

  depends_on = [time_sleep.apis]
}

resource "google_logging_metric" "recovery_seconds" {
  project     = var.project_id
  name        = "${var.name}/recovery_seconds"
  description = "Seconds from the beginning of the incident, or from the request, until the run or the machine was back, by verdict"
  filter      = "${local.verdict_lines} AND jsonPayload.seconds>=0"

  value_extractor = "EXTRACT(jsonPayload.seconds)"
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"
    labels {
      key         = "verdict"
      description = "recovered or repaired"
    }
  }
  label_extractors = {
    verdict = "EXTRACT(jsonPayload.verdict)"
  }

  # From a second to above a day.
  bucket_options {
    exponential_buckets {
      scale              = 1
      growth_factor      = 1.5
      num_finite_buckets = 30
    }
  }

  depends_on = [time_sleep.apis]
}

# A reconcile writes such a line only where something is open.
resource "google_logging_metric" "open_actions" {
  project     = var.project_id
  name        = "${var.name}/open_actions"
  description = "Actions that are not settled, as each reconcile found them, by cluster"
  filter      = "${local.lines} AND jsonPayload.event=\"reconciled\""

  value_extractor = "EXTRACT(jsonPayload.open)"
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "1"
    labels {
      key         = "cluster"
      description = "The cluster's full name"
    }
  }
  label_extractors = {
    cluster = "EXTRACT(jsonPayload.cluster)"
  }

  bucket_options {
    exponential_buckets {
      scale              = 1
      growth_factor      = 2
      num_finite_buckets = 12
    }
  }

  depends_on = [time_sleep.apis]
}

# Nothing that the function does helps any more: a person has to look. A verdict that did not help is an ERROR, one that did is
# INFO. What reconcile carries on or follows up has no request whose last line could tell of its refusal.
resource "google_monitoring_alert_policy" "not_helped" {
  count = var.create_operator_alerts ? 1 : 0

  project               = var.project_id
  display_name          = "${var.name}: a failover did not help"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "the run or the machine is not back, an action was abandoned, or what should follow was refused"
    condition_matched_log {
      filter = join(" AND ", [
        local.lines,
        "severity=\"ERROR\"",
        "(jsonPayload.event=\"verdict\" OR (jsonPayload.event=\"refused\" AND NOT jsonPayload.outcome:*))",
      ])
      label_extractors = {
        action_id = "EXTRACT(jsonPayload.action_id)"
        cluster   = "EXTRACT(jsonPayload.cluster)"
        code      = "EXTRACT(jsonPayload.code)"
        node_pool = "EXTRACT(jsonPayload.node_pool)"
        type      = "EXTRACT(jsonPayload.type)"
        verdict   = "EXTRACT(jsonPayload.verdict)"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    subject   = "Failover did not help: $${log.extracted_label.type} $${log.extracted_label.verdict}$${log.extracted_label.code}"
    mime_type = "text/markdown"
    content   = <<-EOT
      The failover `$${log.extracted_label.action_id}`, $${log.extracted_label.type} of node pool $${log.extracted_label.node_pool} in $${log.extracted_label.cluster}, ended as: $${log.extracted_label.verdict}$${log.extracted_label.code}.

      Its last line says why, in the cluster's words:

          ${local.services_of_log} AND labels.action_id="$${log.extracted_label.action_id}"

      A word such as not_recovered is a verdict, a word such as attempts_exhausted a refusal. What each means and what next: docs/api.md (Reconcile) and docs/runbook.md.
    EOT
  }

  depends_on = [time_sleep.apis]
}

# Nobody reads the answer to an alert, nor to what follows from a verdict. Reconcile repeats the line once a minute, so the incident
# stays open for as long as the plan waits.
resource "google_monitoring_alert_policy" "awaiting_approval" {
  count = var.create_operator_alerts ? 1 : 0

  project               = var.project_id
  display_name          = "${var.name}: a plan waits for approval"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "an action does nothing before somebody approves its plan"
    condition_matched_log {
      filter = "${local.lines} AND jsonPayload.event=\"awaiting_approval\""
      label_extractors = {
        action_id = "EXTRACT(jsonPayload.action_id)"
        cluster   = "EXTRACT(jsonPayload.cluster)"
        node_pool = "EXTRACT(jsonPayload.node_pool)"
        plan      = "EXTRACT(jsonPayload.plan)"
        type      = "EXTRACT(jsonPayload.type)"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit {
      period = "1800s"
    }
  }

  documentation {
    subject   = "Failover waits for approval: $${log.extracted_label.type} of $${log.extracted_label.node_pool}"
    mime_type = "text/markdown"
    content   = <<-EOT
      The failover `$${log.extracted_label.action_id}`, $${log.extracted_label.type} of node pool $${log.extracted_label.node_pool} in $${log.extracted_label.cluster}, does nothing before somebody else than its caller approves its plan.

      Its page and its log line say what it would do. To approve it, POST this to /actions:

          {"type":"approve","id":"$${log.extracted_label.action_id}","plan":"$${log.extracted_label.plan}","requestor":"YOUR NAME"}

          ${local.services_of_log} AND labels.action_id="$${log.extracted_label.action_id}"

      What to look at first, and how to reject it: docs/runbook.md (A plan waits for approval).
    EOT
  }

  depends_on = [time_sleep.apis]
}

# A log match and no metric: one incident a failure, with the action's id in it, from the first apply on.
resource "google_monitoring_alert_policy" "failed" {
  count = var.create_operator_alerts ? 1 : 0

  project               = var.project_id
  display_name          = "${var.name}: a failover failed"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "an action failed, or an alert was refused for another reason than the cooldown"
    condition_matched_log {
      filter = join(" AND ", [
        local.last_lines,
        # A person whose action was refused has the answer in hand. Nobody reads the answer to an alert.
        "(jsonPayload.outcome=\"failed\" OR (jsonPayload.outcome=\"refused\" AND jsonPayload.channel=(\"webhook\" OR \"push\") AND NOT jsonPayload.code=(\"rate_limited\" OR \"action_in_progress\")))",
        "NOT jsonPayload.dry_run=true",
        # Who only looks has the answer in hand, too.
        "NOT jsonPayload.channel=\"read\"",
      ])
      label_extractors = {
        action_id = "EXTRACT(jsonPayload.action_id)"
        cluster   = "EXTRACT(jsonPayload.cluster)"
        code      = "EXTRACT(jsonPayload.code)"
        node_pool = "EXTRACT(jsonPayload.node_pool)"
        outcome   = "EXTRACT(jsonPayload.outcome)"
        type      = "EXTRACT(jsonPayload.type)"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    subject   = "Failover $${log.extracted_label.outcome}: $${log.extracted_label.type} of $${log.extracted_label.node_pool} ($${log.extracted_label.code})"
    mime_type = "text/markdown"
    content   = <<-EOT
      The failover `$${log.extracted_label.action_id}` did not get done: $${log.extracted_label.outcome} ($${log.extracted_label.code}), $${log.extracted_label.type} of node pool $${log.extracted_label.node_pool} in $${log.extracted_label.cluster}.

      The whole story is in Cloud Logging:

          ${local.services_of_log} AND labels.action_id="$${log.extracted_label.action_id}"

      The last line says why and what next. What each code means: docs/runbook.md. Sending the same action with the same id resumes it.
    EOT
  }

  depends_on = [time_sleep.apis]
}

resource "google_monitoring_alert_policy" "webhook_credentials" {
  count = var.create_operator_alerts ? local.webhook_count : 0

  project               = var.project_id
  display_name          = "${var.name}: the webhook refuses credentials"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "wrong user name or password"
    condition_matched_log {
      filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.functions["webhook"].name}\" AND jsonPayload.outcome=\"refused\" AND jsonPayload.code=\"unauthorized\""
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Either somebody is trying passwords at the public address, or the channel and the secret have different ones, and then no alert gets through: give webhook_password again with a higher webhook_password_version."
  }

  depends_on = [time_sleep.apis]
}

# An instance that was killed writes no last line, but its request is a 5xx.
resource "google_monitoring_alert_policy" "server_errors" {
  count = var.create_operator_alerts ? 1 : 0

  project               = var.project_id
  display_name          = "${var.name}: server errors"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "5xx"
    condition_threshold {
      filter          = "resource.type = \"cloud_run_revision\" AND ${local.services_of_metric} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.label.service_name"]
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      The function $${resource.label.service_name} answered 5xx: an API behind it failed, it ran out of time or memory, or it has a bug. An action that began and wrote no last line was cut off:

          ${local.services_of_log} AND (severity>=ERROR OR jsonPayload.event="received" OR jsonPayload.outcome:*)

      An unfinished action keeps its plan in the cluster: the same action with the same id resumes it. See docs/runbook.md.
    EOT
  }

  depends_on = [time_sleep.apis]
}

resource "google_monitoring_alert_policy" "dead_letters" {
  count = var.create_operator_alerts ? local.pubsub_count : 0

  project               = var.project_id
  display_name          = "${var.name}: alerts that nobody took"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.operator_notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "messages in the dead-letter subscription"
    condition_threshold {
      filter          = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dead_letters[0].name}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"
      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  alert_strategy {
    auto_close = "604800s"
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      Alerts were delivered 20 times and never answered with success, so what they asked for was not done. Look at them, and take them away once they are dealt with:

          gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters[0].name} --project ${var.project_id} --limit 10
          gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead_letters[0].name} --project ${var.project_id} --limit 10 --auto-ack

      Whether they reached the function at all, and with what answer, is in its log: docs/runbook.md.
    EOT
  }
}
