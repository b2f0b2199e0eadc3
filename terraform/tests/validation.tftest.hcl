# What the real providers would only find out when it is applied, or not at all.

mock_provider "google" {
  source = "./tests/mocks"
}
mock_provider "archive" {}
mock_provider "time" {}

variables {
  # Reading the sources takes Terraform a second a run.
  source_archive = { bucket = "builds", object = "failover.zip" }

  project_id = "my-project"
  region     = "us-central1"
  clusters   = ["projects/my-project/locations/us-central1/clusters/train"]
}

# Each of these is wrong by itself, so every one of them must be refused.
run "wrong_values" {
  command = plan
  variables {
    action_deadline_seconds        = 271
    allowed_actions                = []
    allowed_namespaces             = ["*"]
    approval_ttl_seconds           = 59
    clusters                       = []
    concurrency                    = 81
    cooldown_seconds               = -1
    cordon_concurrency             = 0
    cpu                            = "0.5"
    ingress_settings               = "ALLOW_NONE"
    invokers                       = ["allUsers"]
    max_alert_age_seconds          = 59
    max_attempts_per_day           = 0
    max_instances                  = 0
    max_pools_per_hour             = 0.5
    name                           = "autometric-failover-of-team-x"
    operator_notification_channels = ["42"]
    project_id                     = "My Project"
    propagation_seconds            = 601
    recovery_timeout_seconds       = 59
    region                         = "us-central1-a"
    repair_timeout_seconds         = 86401
    accept_timeout_seconds         = 86401
    resume_within_seconds          = -1
    runtime                        = "nodejs20"
    vpc                            = {}
    webhook_password_version       = 0
  }
  expect_failures = [
    var.action_deadline_seconds,
    var.allowed_actions,
    var.allowed_namespaces,
    var.approval_ttl_seconds,
    var.clusters,
    var.concurrency,
    var.cooldown_seconds,
    var.cordon_concurrency,
    var.cpu,
    var.ingress_settings,
    var.invokers,
    var.max_alert_age_seconds,
    var.max_attempts_per_day,
    var.max_instances,
    var.max_pools_per_hour,
    var.name,
    var.operator_notification_channels,
    var.project_id,
    var.propagation_seconds,
    var.recovery_timeout_seconds,
    var.region,
    var.repair_timeout_seconds,
    var.accept_timeout_seconds,
    var.resume_within_seconds,
    var.runtime,
    var.vpc,
    var.webhook_password_version,
  ]
}

run "other_wrong_values" {
  command = plan
  variables {
    action_deadline_seconds  = 29
    allowed_actions          = ["drain_nodepool"]
    clusters                 = ["train"]
    cordon_concurrency       = 513
    gke_endpoint             = "dsn"
    invokers                 = ["allAuthenticatedUsers"]
    max_alert_age_seconds    = 86401
    max_attempts_per_day     = 101
    min_instances            = 4
    recovery_timeout_seconds = 90.5
    repair_timeout_seconds   = 59
    accept_timeout_seconds   = 59
    resume_within_seconds    = 86401
    reconcile_region         = "us-central1-a"
  }
  expect_failures = [
    var.action_deadline_seconds,
    var.allowed_actions,
    var.clusters,
    var.cordon_concurrency,
    var.gke_endpoint,
    var.invokers,
    var.max_alert_age_seconds,
    var.max_attempts_per_day,
    var.min_instances,
    var.reconcile_region,
    var.recovery_timeout_seconds,
    var.repair_timeout_seconds,
    var.accept_timeout_seconds,
    var.resume_within_seconds,
  ]
}

run "more_wrong_values" {
  command = plan
  variables {
    clusters        = ["projects/my-project/locations/l-1/clusters/c", "projects/my-project/locations/l-1/clusters/c"]
    memory          = "256Mi"
    timeout_seconds = 571
    vpc             = { connector = "c", network = "n" }
  }
  expect_failures = [
    var.clusters,
    var.memory,
    var.timeout_seconds,
    var.vpc,
  ]
}

run "alert_beyond_allowed" {
  command = plan
  variables {
    allowed_actions = ["cordon_nodepool"]
    alert_policies  = { p = { action = "repair_nodepool", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "additional_beyond_allowed" {
  command = plan
  variables {
    allowed_actions          = ["cordon_nodepool"]
    additional_alert_actions = ["repair_nodepool"]
  }
  expect_failures = [var.additional_alert_actions]
}

run "close_with_another_action" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", on_close = "repair_nodepool", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "close_of_a_log_match" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", on_close = "uncordon_nodepool", conditions = [{ display_name = "c", matched_log = { filter = "f" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "jobset_for_a_cordon" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", jobset = "train", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "namespace_not_allowed" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", namespace = "other", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "cluster_not_listed" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", cluster = "prod", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "jobset_no_label" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", jobset = "Train.1", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "own_failover_label" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", user_labels = { failover_dryrun = "true" }, conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "no_condition" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [] } }
  }
  expect_failures = [var.alert_policies]
}

run "condition_of_two_kinds" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", promql = { query = "up" }, matched_log = { filter = "f" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "log_match_beside_another" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", promql = { query = "up" } }, { display_name = "d", matched_log = { filter = "f" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "unsupported_comparison" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", threshold = { filter = "f", comparison = "COMPARISON_GE" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "unknown_severity" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", severity = "FATAL", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "half_a_minute" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", absent = { filter = "f", duration = "90s" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "cluster_grouped_away" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", threshold = { filter = "f", aggregations = [{ per_series_aligner = "ALIGN_MAX", cross_series_reducer = "REDUCE_MAX", group_by_fields = ["resource.label.node_name"] }] } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "node_grouped_away" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", threshold = { filter = "f", aggregations = [{ per_series_aligner = "ALIGN_MAX", cross_series_reducer = "REDUCE_MAX", group_by_fields = ["resource.labels.project_id", "resource.labels.location", "resource.labels.cluster_name"] }] } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "private_without_vpc" {
  command = plan
  variables {
    gke_endpoint = "private"
  }
  expect_failures = [var.gke_endpoint]
}

run "short_password" {
  command = plan
  variables {
    webhook_password = "fifteen letters"
  }
  expect_failures = [var.webhook_password]
}

run "webhook_without_password" {
  command = plan
  variables {
    additional_alert_actions = ["cordon_nodepool"]
    webhook                  = { username = "monitoring" }
  }
  expect_failures = [var.webhook_password]
}

run "webhook_for_nothing" {
  command = plan
  variables {
    webhook          = { username = "monitoring" }
    webhook_password = "a password of some length"
  }
  expect_failures = [var.webhook]
}

run "colon_in_username" {
  command = plan
  variables {
    additional_alert_actions = ["cordon_nodepool"]
    webhook                  = { username = "a:b" }
    webhook_password         = "a password of some length"
  }
  expect_failures = [var.webhook]
}

run "big_cpu_small_memory" {
  command = plan
  variables {
    cpu     = "4"
    labels  = { Team = "research" }
    viewers = ["allUsers"]
  }
  expect_failures = [var.memory, var.labels, var.viewers]
}

run "failover_label_on_everything" {
  command = plan
  variables {
    labels = { failover_dry_run = "true" }
  }
  expect_failures = [var.labels]
}

run "follow_up_of_a_cordon" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", on_failure = "repair_nodepool", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "follow_up_that_is_not_allowed" {
  command = plan
  variables {
    allowed_actions = ["cordon_nodepool_and_restart_jobset"]
    alert_policies  = { p = { action = "cordon_nodepool_and_restart_jobset", on_failure = "repair_nodepool", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "report_without_a_fault" {
  command = plan
  variables {
    alert_policies = { p = { action = "repair_nodepool", repair = "report_faulty_host", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "reboot_of_a_cordon" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", repair = "reboot", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "no_spare_misspelt" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", when_no_spare = "repiar", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "no_spare_of_a_repair" {
  command = plan
  variables {
    alert_policies = { p = { action = "repair_nodepool", when_no_spare = "refuse", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "spare_capacity_and_repair" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", spare_capacity = true, when_no_spare = "repair", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "uncordon_without_a_repair" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", uncordon_when_repaired = true, conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "test_without_a_release" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_and_repair_nodepool", accept = "burn-in", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "test_and_a_release_on_close" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_and_repair_nodepool", uncordon_when_repaired = true, on_close = "uncordon_nodepool", accept = "burn-in", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "test_that_no_label_can_have" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_and_repair_nodepool", uncordon_when_repaired = true, accept = "example.com/burn-in", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "grace_without_a_restart" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", restart_grace_seconds = 5, conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "grace_of_half_a_second" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool_and_restart_jobset", restart_grace_seconds = 0.5, conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "closes_after_a_minute" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", auto_close = "60s", conditions = [{ display_name = "c", promql = { query = "up == 0" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "missing_data_without_a_duration" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", threshold = { filter = "f", evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE" } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "pod_without_its_namespace" {
  command = plan
  variables {
    alert_policies = { p = { action = "cordon_nodepool", conditions = [{ display_name = "c", threshold = { filter = "f", aggregations = [{ per_series_aligner = "ALIGN_MAX", cross_series_reducer = "REDUCE_MAX", group_by_fields = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.pod_name"] }] } }] } }
  }
  expect_failures = [var.alert_policies]
}

run "archive_by_its_address" {
  command = plan
  variables {
    source_archive = { bucket = "gs://builds", object = "failover.zip" }
  }
  expect_failures = [var.source_archive]
}

run "archive_that_is_no_zip" {
  command = plan
  variables {
    source_archive = { bucket = "builds", object = "failover.tgz" }
  }
  expect_failures = [var.source_archive]
}

run "log_rule_without_what_to_look_for" {
  command = plan
  variables {
    log_rules = { x = { log = "l", labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_text_and_method" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = ["Xid 79"], method = "a.b.c", labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_an_empty_list" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = [], labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_a_short_text" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = ["79"], labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_of_a_container" {
  command = plan
  variables {
    log_rules = { x = { log = "l", resource_type = "k8s_container", contains = ["Xid 79"], labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_an_encoded_log" {
  command = plan
  variables {
    log_rules = { x = { log = "a%2Fb", contains = ["Xid 79"], labels = { failover_action = "cordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_an_action_that_is_not_allowed" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = ["Xid 79"], labels = { failover_action = "drain" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_what_a_close_does" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = ["Xid 79"], labels = { failover_action = "cordon_nodepool", failover_on_close = "uncordon_nodepool" } } }
  }
  expect_failures = [var.log_rules]
}

run "log_rule_with_another_label" {
  command = plan
  variables {
    log_rules = { x = { log = "l", contains = ["Xid 79"], labels = { failover_action = "cordon_nodepool", team = "research" } } }
  }
  expect_failures = [var.log_rules]
}

# A wrong allowed_actions would hide it.
run "approval_of_what_is_not_allowed" {
  command = plan
  variables {
    approval_actions = ["drain_nodepool"]
  }
  expect_failures = [var.approval_actions]
}

run "approval_of_a_policy" {
  command = plan
  variables {
    alert_policies = {
      maybe = {
        action     = "cordon_nodepool"
        approval   = "optional"
        conditions = [{ display_name = "c", promql = { query = "up == 0" } }]
      }
    }
  }
  expect_failures = [var.alert_policies]
}
