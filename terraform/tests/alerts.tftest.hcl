# Alerts by Pub/Sub push: what is asked for, who may deliver it, and what becomes of what cannot be delivered.

mock_provider "google" {
  source = "./tests/mocks"
}
mock_provider "archive" {}
mock_provider "time" {}

variables {
  # Reading the sources takes Terraform a second a run.
  source_archive = { bucket = "builds", object = "failover.zip" }

  webhook_password = "nothing uses this"

  project_id                     = "my-project"
  region                         = "us-central1"
  clusters                       = ["projects/my-project/locations/us-central1/clusters/train"]
  allowed_namespaces             = ["default", "research"]
  operator_notification_channels = ["projects/my-project/notificationChannels/42"]

  alert_policies = {
    node-not-ready = {
      action   = "cordon_and_repair_nodepool"
      on_close = "uncordon_nodepool"
      conditions = [{
        display_name = "Ready is not true for 5 minutes"
        threshold = {
          filter          = "resource.type = \"k8s_node\" AND metric.type = \"kubernetes.io/node/status_condition\" AND metric.labels.condition = \"Ready\" AND metric.labels.status != \"True\""
          comparison      = "COMPARISON_GT"
          threshold_value = 0.5
          duration        = "300s"
          aggregations    = [{ alignment_period = "300s", per_series_aligner = "ALIGN_FRACTION_TRUE" }]
        }
      }]
    }
    slice-unavailable = {
      action               = "cordon_nodepool_and_restart_jobset"
      jobset               = "train"
      namespace            = "research"
      cluster              = "train"
      dry_run              = true
      expected_node_counts = true
      documentation        = "Look at the slice."
      user_labels          = { team = "research" }
      conditions = [{
        display_name = "gone"
        absent = {
          filter   = "resource.type = \"k8s_node_pool\" AND metric.type = \"kubernetes.io/node_pool/multi_host/available\""
          duration = "300s"
          aggregations = [{
            per_series_aligner   = "ALIGN_COUNT_TRUE"
            cross_series_reducer = "REDUCE_SUM"
            group_by_fields      = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.node_pool_name"]
          }]
        }
      }]
    }
    host-error = {
      action                = "cordon_nodepool"
      notification_channels = ["projects/my-project/notificationChannels/42"]
      conditions = [{
        display_name = "host error"
        matched_log  = { filter = "resource.type=\"gce_instance\" AND protoPayload.methodName=\"compute.instances.hostError\"" }
      }]
    }
    by-query = {
      action     = "cordon_nodepool"
      conditions = [{ display_name = "query", promql = { query = "up == 0" } }]
    }
  }
}

run "pubsub" {
  assert {
    condition     = output.alert_actions == tolist(["cordon_and_repair_nodepool", "cordon_nodepool", "cordon_nodepool_and_restart_jobset", "uncordon_nodepool"]) && google_cloudfunctions2_function.this["failover"].service_config[0].environment_variables["ALERT_ACTIONS"] == join(",", output.alert_actions)
    error_message = "Alerts may ask for what the policies ask for, their closing included, and for nothing else."
  }
  assert {
    condition     = keys(google_cloudfunctions2_function.this) == ["failover"] && length(google_cloud_run_service_iam_member.webhook) == 0
    error_message = "Pub/Sub needs no public function."
  }

  # The labels that arrive with each notification.
  assert {
    condition     = google_monitoring_alert_policy.failover["node-not-ready"].user_labels == tomap({ failover_action = "cordon_and_repair_nodepool", failover_on_close = "uncordon_nodepool" })
    error_message = "What is not asked for has no label."
  }
  assert {
    condition = google_monitoring_alert_policy.failover["slice-unavailable"].user_labels == tomap({
      failover_action               = "cordon_nodepool_and_restart_jobset"
      failover_jobset               = "train"
      failover_namespace            = "research"
      failover_cluster              = "train"
      failover_dry_run              = "true"
      failover_expected_node_counts = "true"
      team                          = "research"
    })
    error_message = "Everything that is asked for is a label."
  }
  assert {
    condition     = google_monitoring_alert_policy.failover["node-not-ready"].alert_strategy[0].notification_prompts == tolist(["OPENED", "CLOSED"]) && google_monitoring_alert_policy.failover["slice-unavailable"].alert_strategy[0].notification_prompts == tolist(["OPENED"])
    error_message = "The close is told where something is to be done then, and only there."
  }
  assert {
    condition     = google_monitoring_alert_policy.failover["host-error"].alert_strategy[0].notification_prompts == null && google_monitoring_alert_policy.failover["host-error"].alert_strategy[0].notification_rate_limit[0].period == "300s" && length(google_monitoring_alert_policy.failover["node-not-ready"].alert_strategy[0].notification_rate_limit) == 0
    error_message = "A log match, and only a log match, has a rate limit."
  }
  assert {
    condition     = google_monitoring_alert_policy.failover["host-error"].notification_channels == tolist(["projects/my-project/notificationChannels/1", "projects/my-project/notificationChannels/42"])
    error_message = "The function is told, and whoever else is named."
  }
  assert {
    condition     = google_monitoring_alert_policy.failover["node-not-ready"].conditions[0].condition_threshold[0].comparison == "COMPARISON_GT" && google_monitoring_alert_policy.failover["slice-unavailable"].conditions[0].condition_absent[0].duration == "300s" && google_monitoring_alert_policy.failover["by-query"].conditions[0].condition_prometheus_query_language[0].query == "up == 0"
    error_message = "Each condition is of its own kind."
  }

  # From the policy to the function.
  assert {
    condition     = google_monitoring_notification_channel.pubsub[0].type == "pubsub" && google_monitoring_notification_channel.pubsub[0].labels["topic"] == google_pubsub_topic.alerts[0].id && google_pubsub_subscription.alerts[0].topic == google_pubsub_topic.alerts[0].id
    error_message = "Channel, topic and subscription belong together."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.monitoring[0].topic == "autometric-failover-alerts" && google_pubsub_topic_iam_member.monitoring[0].role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.monitoring[0].member == "serviceAccount:service-123456789012@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
    error_message = "Cloud Monitoring's own agent may publish; nothing grants it that by itself."
  }
  assert {
    condition     = google_pubsub_subscription.alerts[0].push_config[0].push_endpoint == "https://autometric-failover-mock-uc.a.run.app/alerts" && google_pubsub_subscription.alerts[0].push_config[0].oidc_token[0].audience == "https://autometric-failover-mock-uc.a.run.app"
    error_message = "It posts to /alerts, with a token for the bare address."
  }
  assert {
    condition     = google_pubsub_subscription.alerts[0].push_config[0].oidc_token[0].service_account_email == google_service_account.push[0].email && google_cloud_run_service_iam_member.push[0].member == google_service_account.push[0].member && google_cloud_run_service_iam_member.push[0].role == "roles/run.invoker"
    error_message = "Whoever delivers may call."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].timeout_seconds < google_pubsub_subscription.alerts[0].ack_deadline_seconds
    error_message = "The function answers before Pub/Sub gives up and delivers again."
  }
  assert {
    condition     = google_pubsub_subscription.alerts[0].message_retention_duration == "3600s" && google_pubsub_subscription.alerts[0].expiration_policy[0].ttl == "" && google_pubsub_subscription.dead_letters[0].expiration_policy[0].ttl == ""
    error_message = "A stale alert is dropped; a quiet month drops no subscription."
  }
  assert {
    condition     = length(google_service_account_iam_member.token_creator) == 0
    error_message = "Projects of today need no token creator."
  }

  # What nobody took.
  assert {
    condition     = google_pubsub_subscription.alerts[0].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters[0].id && google_pubsub_subscription.alerts[0].dead_letter_policy[0].max_delivery_attempts == 20 && google_pubsub_subscription.dead_letters[0].topic == google_pubsub_topic.dead_letters[0].id
    error_message = "It goes where somebody keeps it."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters[0].role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.dead_letters[0].topic == "autometric-failover-dead-letters" && google_pubsub_subscription_iam_member.dead_letters[0].role == "roles/pubsub.subscriber" && google_pubsub_subscription_iam_member.dead_letters[0].subscription == "autometric-failover-alerts"
    error_message = "Pub/Sub may put it there and take it away here."
  }
  assert {
    condition     = alltrue([for m in [google_pubsub_topic_iam_member.dead_letters[0].member, google_pubsub_subscription_iam_member.dead_letters[0].member] : m == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"])
    error_message = "Both rights are the Pub/Sub agent's."
  }

  # What people hear of.
  assert {
    condition     = alltrue([for p in [google_monitoring_alert_policy.failed[0], google_monitoring_alert_policy.not_helped[0], google_monitoring_alert_policy.server_errors[0], google_monitoring_alert_policy.dead_letters[0]] : p.notification_channels == tolist(["projects/my-project/notificationChannels/42"]) && length([for k in keys(coalesce(p.user_labels, {})) : k if startswith(k, "failover_")]) == 0])
    error_message = "Alerts about the function go to people, never to the function."
  }
  assert {
    condition     = length(google_monitoring_alert_policy.webhook_credentials) == 0
    error_message = "There is no webhook to be tried."
  }
}

run "spare_capacity" {
  variables {
    alert_policies = {
      condition = {
        action         = "cordon_nodepool_and_restart_jobset"
        spare_capacity = true
        conditions     = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
      in_place = {
        action        = "cordon_nodepool_and_restart_jobset"
        when_no_spare = "repair"
        conditions    = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
    }
  }

  assert {
    condition     = google_monitoring_alert_policy.failover["condition"].user_labels == tomap({ failover_action = "cordon_nodepool_and_restart_jobset", failover_spare_capacity = "true" })
    error_message = "The condition is a label."
  }
  assert {
    condition     = google_monitoring_alert_policy.failover["in_place"].user_labels == tomap({ failover_action = "cordon_nodepool_and_restart_jobset", failover_when_no_spare = "repair" })
    error_message = "What is done without spare capacity is a label."
  }
  assert {
    condition     = output.alert_actions == tolist(["cordon_and_repair_nodepool", "cordon_nodepool_and_restart_jobset", "uncordon_nodepool"])
    error_message = "The repair in place is refused unless alerts may ask for it."
  }
}

run "what_follows_a_verdict" {
  variables {
    alert_policies = {
      slice = {
        action                 = "cordon_nodepool_and_restart_jobset"
        on_failure             = "repair_nodepool"
        uncordon_when_repaired = true
        accept                 = "burn-in"
        conditions             = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
    }
  }

  assert {
    condition     = google_monitoring_alert_policy.failover["slice"].user_labels == tomap({ failover_action = "cordon_nodepool_and_restart_jobset", failover_on_failure = "repair_nodepool", failover_uncordon_when_repaired = "true", failover_accept = "burn-in" })
    error_message = "What follows is a label, too."
  }
  assert {
    condition     = output.alert_actions == tolist(["cordon_nodepool_and_restart_jobset", "repair_nodepool", "uncordon_nodepool"])
    error_message = "What follows is refused unless alerts may ask for it."
  }
}

run "grace_of_a_restart" {
  variables {
    alert_policies = {
      slice = {
        action                = "cordon_nodepool_and_restart_jobset"
        restart_grace_seconds = 0
        conditions            = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
    }
  }

  assert {
    condition     = google_monitoring_alert_policy.failover["slice"].user_labels == tomap({ failover_action = "cordon_nodepool_and_restart_jobset", failover_restart_grace_seconds = "0" })
    error_message = "A grace of 0 is a label, too."
  }
}

run "ways_of_repair" {
  variables {
    alert_policies = {
      xid = {
        action     = "cordon_and_repair_nodepool"
        repair     = "report_faulty_host"
        fault      = "xid"
        approval   = "required"
        conditions = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
    }
  }

  assert {
    condition     = google_monitoring_alert_policy.failover["xid"].user_labels == tomap({ failover_action = "cordon_and_repair_nodepool", failover_approval = "required", failover_repair = "report_faulty_host", failover_fault = "xid" })
    error_message = "How a machine is repaired, and that somebody must approve it, are labels, too."
  }
}

run "policies_made_elsewhere" {
  variables {
    alert_policies           = {}
    additional_alert_actions = ["cordon_nodepool"]
    grant_token_creator      = true
  }

  assert {
    condition     = output.alert_actions == tolist(["cordon_nodepool"]) && output.notification_channel == "projects/my-project/notificationChannels/1" && output.topic == "projects/my-project/topics/mock"
    error_message = "The channel is there for policies of others."
  }
  assert {
    condition     = google_service_account_iam_member.token_creator[0].role == "roles/iam.serviceAccountTokenCreator"
    error_message = "Old projects can have the token creator."
  }
}

run "log_entries" {
  variables {
    clusters       = ["projects/my-project/locations/us-central1/clusters/train", "projects/other-project/locations/us-east5/clusters/east"]
    alert_policies = {}
    log_rules = {
      xid-79 = {
        log      = "serialconsole.googleapis.com/serial_port_1_output"
        contains = ["NVRM: Xid", "): 79,"]
        labels   = { failover_action = "cordon_and_repair_nodepool", failover_repair = "report_faulty_host", failover_fault = "xid" }
      }
      host-error = {
        log    = "cloudaudit.googleapis.com/system_event"
        method = "compute.instances.hostError"
        labels = { failover_action = "cordon_nodepool_and_restart_jobset", failover_dry_run = "true" }
      }
    }
  }

  assert {
    condition     = output.alert_actions == tolist(["cordon_and_repair_nodepool", "cordon_nodepool_and_restart_jobset"])
    error_message = "What log entries ask for is all that alerts may ask for."
  }
  assert {
    condition = google_cloudfunctions2_function.this["failover"].service_config[0].environment_variables["LOG_RULES"] == jsonencode({
      host-error = { log = "cloudaudit.googleapis.com/system_event", resource_type = "gce_instance", method = "compute.instances.hostError", labels = { failover_action = "cordon_nodepool_and_restart_jobset", failover_dry_run = "true" } }
      xid-79     = { log = "serialconsole.googleapis.com/serial_port_1_output", resource_type = "gce_instance", contains = ["NVRM: Xid", "): 79,"], labels = { failover_action = "cordon_and_repair_nodepool", failover_repair = "report_faulty_host", failover_fault = "xid" } }
    })
    error_message = "The function gets the rules with the labels of a policy."
  }
  assert {
    condition     = sort(keys(google_logging_project_sink.this)) == tolist(["my-project", "other-project"]) && alltrue([for s in google_logging_project_sink.this : s.destination == "pubsub.googleapis.com/projects/my-project/topics/mock" && s.unique_writer_identity])
    error_message = "Each project that has a cluster sends its entries to the topic of the alerts."
  }
  assert {
    condition     = google_logging_project_sink.this["my-project"].filter == "(resource.type=\"gce_instance\" AND log_id(\"cloudaudit.googleapis.com/system_event\") AND protoPayload.methodName=\"compute.instances.hostError\") OR (resource.type=\"gce_instance\" AND log_id(\"serialconsole.googleapis.com/serial_port_1_output\") AND (textPayload:\"NVRM: Xid\" OR jsonPayload.message:\"NVRM: Xid\" OR jsonPayload.MESSAGE:\"NVRM: Xid\") AND (textPayload:\"): 79,\" OR jsonPayload.message:\"): 79,\" OR jsonPayload.MESSAGE:\"): 79,\"))"
    error_message = "A sink sends what a rule fits."
  }
  assert {
    condition     = alltrue([for m in google_pubsub_topic_iam_member.logs : m.role == "roles/pubsub.publisher" && m.member == "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com"])
    error_message = "The sink may publish."
  }
}

run "no_log_entries" {
  assert {
    condition     = length(google_logging_project_sink.this) == 0 && length(google_pubsub_topic_iam_member.logs) == 0 && !contains(keys(google_cloudfunctions2_function.this["failover"].service_config[0].environment_variables), "LOG_RULES")
    error_message = "No log entry comes here unless it was asked for."
  }
}
