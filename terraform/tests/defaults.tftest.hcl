# A deployment with nothing but what is required: private, least privilege, no way in for alerts.

mock_provider "google" {
  source = "./tests/mocks"
}
mock_provider "archive" {}
mock_provider "time" {}

variables {
  # `terraform test` wants a value for an ephemeral variable, also where nothing uses it.
  webhook_password = "nothing uses this"

  project_id = "my-project"
  region     = "us-central1"
  clusters = [
    "projects/my-project/locations/us-central1/clusters/train",
    "projects/other-project/locations/us-east5-a/clusters/train-east",
  ]
}

run "defaults" {
  assert {
    condition     = keys(google_cloudfunctions2_function.this) == ["failover"]
    error_message = "Only the function behind IAM is made."
  }
  assert {
    condition     = length(google_cloud_run_service_iam_member.invoker) + length(google_cloud_run_service_iam_member.push) + length(google_cloud_run_service_iam_member.webhook) == 0
    error_message = "Nobody may call it unless somebody is named."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].build_config[0].entry_point == "failover" && google_cloudfunctions2_function.this["failover"].build_config[0].runtime == "nodejs24"
    error_message = "The entry point is failover, on nodejs24."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].service_account_email == google_service_account.runtime.email && google_cloudfunctions2_function.this["failover"].build_config[0].service_account == google_service_account.build.id
    error_message = "It runs and is built as its own service accounts."
  }
  assert {
    condition = google_cloudfunctions2_function.this["failover"].service_config[0].environment_variables == tomap({
      ACTION_DEADLINE_SECONDS  = "240"
      ALLOWED_ACTIONS          = "cordon_and_repair_nodepool,cordon_nodepool,cordon_nodepool_and_restart_jobset,repair_nodepool,uncordon_nodepool"
      ALLOWED_NAMESPACES       = "default"
      APPROVAL_TTL_SECONDS     = "1800"
      CLUSTERS                 = "projects/my-project/locations/us-central1/clusters/train,projects/other-project/locations/us-east5-a/clusters/train-east"
      COOLDOWN_SECONDS         = "3600"
      CORDON_CONCURRENCY       = "64"
      GKE_ENDPOINT             = "auto"
      GOOGLE_CLOUD_PROJECT     = "my-project"
      LOG_EXECUTION_ID         = "true"
      NODE_OPTIONS             = "--max-semi-space-size=4"
      MAX_ALERT_AGE_SECONDS    = "900"
      MAX_ATTEMPTS_PER_DAY     = "3"
      MAX_POOLS_PER_HOUR       = "2"
      RECOVERY_TIMEOUT_SECONDS = "1200"
      REPAIR_TIMEOUT_SECONDS   = "1800"
      ACCEPT_TIMEOUT_SECONDS   = "1800"
      RESUME_WITHIN_SECONDS    = "900"
    })
    error_message = "Every setting is given, and none without a value."
  }
  assert {
    condition     = var.action_deadline_seconds < google_cloudfunctions2_function.this["failover"].service_config[0].timeout_seconds && google_cloudfunctions2_function.this["failover"].service_config[0].available_cpu == "1"
    error_message = "An action ends before its request does; a concurrency above 1 needs a whole CPU."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].vpc_connector == null && length(google_cloudfunctions2_function.this["failover"].service_config[0].direct_vpc_network_interface) == 0
    error_message = "The DNS endpoint needs no VPC."
  }

  assert {
    condition     = keys(google_project_iam_custom_role.this) == ["my-project", "other-project"] && keys(google_project_iam_member.runtime) == ["my-project", "other-project"]
    error_message = "Each project of a cluster has the role and its binding."
  }
  assert {
    condition     = alltrue([for r in google_project_iam_custom_role.this : r.role_id == "autometric_failover" && r.permissions == toset(yamldecode(file("../gcp-role.yaml")).includedPermissions)])
    error_message = "The role is gcp-role.yaml."
  }
  assert {
    condition     = alltrue([for m in google_project_iam_member.runtime : m.condition[0].expression == "resource.type != \"compute.googleapis.com/Instance\" || resource.name.extract(\"/instances/{name}\").startsWith(\"gke-\")"])
    error_message = "Only machines of GKE may be deleted."
  }
  assert {
    condition     = google_project_iam_member.build["roles/storage.objectViewer"].condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-123456789012-us-central1\") || resource.name.startsWith(\"projects/_/buckets/my-project-autometric-failover-source\")"
    error_message = "The build reads the function's sources and no other bucket."
  }

  assert {
    condition     = google_storage_bucket.source[0].public_access_prevention == "enforced" && google_storage_bucket.source[0].uniform_bucket_level_access
    error_message = "The sources' bucket is private."
  }
  assert {
    condition     = google_storage_bucket_object.source[0].name == "source-${data.archive_file.source[0].output_sha256}.zip"
    error_message = "New content is a new object, or nothing is deployed again."
  }
  assert {
    condition     = alltrue([for f in local.source_files : can(regex("^(package(-lock)?\\.json|tsconfig\\.json|src/.+\\.(ts|json)|deploy/build[^/]*\\.ts)$", f))]) && contains(local.source_files, "package-lock.json")
    error_message = "Only what the build needs is uploaded."
  }

  assert {
    condition     = length(google_pubsub_topic.alerts) + length(google_pubsub_subscription.alerts) + length(google_monitoring_notification_channel.pubsub) + length(google_monitoring_notification_channel.webhook) + length(google_secret_manager_secret.webhook_password) == 0
    error_message = "No alert asks for anything, so there is no way in for alerts."
  }
  assert {
    condition     = output.notification_channel == null && output.topic == null && output.webhook_uri == null
    error_message = "What is not there is null."
  }
  assert {
    condition     = output.dry_run_command == "gcloud functions call autometric-failover --gen2 --project my-project --region us-central1 --data '{\"type\": \"cordon_nodepool\", \"cluster\": \"train\", \"node_pool\": \"POOL\", \"requestor\": \"me\", \"reason\": \"first try\", \"dry_run\": true}'" && output.proxy_command == "gcloud run services proxy autometric-failover --project my-project --region us-central1"
    error_message = "The outputs are lines to paste."
  }
  assert {
    condition     = keys(output.service_accounts) == ["build", "runtime", "tick"] && output.status_uri == null
    error_message = "It names the accounts that are there."
  }
  assert {
    condition     = output.rbac_command == "./../deploy/rbac.sh --email mock@my-project.iam.gserviceaccount.com --unique-id 100000000000000000001 --namespaces default | kubectl --context CONTEXT apply -f -"
    error_message = "The output is the line to paste."
  }
}

run "reconcile" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
  }

  assert {
    condition     = google_cloud_scheduler_job.reconcile[0].schedule == "* * * * *" && google_cloud_scheduler_job.reconcile[0].http_target[0].http_method == "POST" && endswith(google_cloud_scheduler_job.reconcile[0].http_target[0].uri, "/reconcile") && google_cloud_scheduler_job.reconcile[0].retry_config[0].retry_count == 0
    error_message = "Cloud Scheduler posts to /reconcile once a minute, and the next minute is the retry."
  }
  assert {
    condition     = google_cloud_scheduler_job.reconcile[0].http_target[0].oidc_token[0].service_account_email == google_service_account.reconcile[0].email && google_cloud_scheduler_job.reconcile[0].http_target[0].uri == "${google_cloud_scheduler_job.reconcile[0].http_target[0].oidc_token[0].audience}/reconcile"
    error_message = "It calls as its own service account, with the function as the audience."
  }
  assert {
    condition     = google_cloud_run_service_iam_member.reconcile[0].service == "autometric-failover" && google_cloud_run_service_iam_member.reconcile[0].member == google_service_account.reconcile[0].member
    error_message = "That account may call the function behind IAM, and nothing else."
  }
  assert {
    condition     = google_cloud_scheduler_job.reconcile[0].attempt_deadline == "${google_cloudfunctions2_function.this["failover"].service_config[0].timeout_seconds}s" && google_cloud_scheduler_job.reconcile[0].region == "us-central1"
    error_message = "A call may take as long as the function may."
  }
}

run "without_reconcile" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
    reconcile      = false
  }

  assert {
    condition     = length(google_cloud_scheduler_job.reconcile) + length(google_service_account.reconcile) + length(google_cloud_run_service_iam_member.reconcile) == 0
    error_message = "One variable turns it off, with its account and its right."
  }
}

run "viewers" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
    viewers        = ["group:research@example.com"]
  }

  assert {
    condition     = google_cloudfunctions2_function.this["status"].build_config[0].entry_point == "failoverStatus" && google_cloudfunctions2_function.this["status"].name == "autometric-failover-status"
    error_message = "The function that only shows is made for them."
  }
  assert {
    condition     = google_cloud_run_service_iam_member.viewer["group:research@example.com"].service == "autometric-failover-status" && google_cloud_run_service_iam_member.viewer["group:research@example.com"].role == "roles/run.invoker" && length(google_cloud_run_service_iam_member.invoker) == 0
    error_message = "They may call it, and not the function that acts."
  }
  assert {
    condition     = output.status_uri == "https://autometric-failover-mock-uc.a.run.app"
    error_message = "It says where they look."
  }
}

run "invokers" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
    invokers       = ["group:oncall@example.com", "serviceAccount:ci@my-project.iam.gserviceaccount.com"]
  }

  assert {
    condition     = alltrue([for who, m in google_cloud_run_service_iam_member.invoker : m.role == "roles/run.invoker" && m.member == who && m.service == "autometric-failover"]) && length(google_cloud_run_service_iam_member.invoker) == 2
    error_message = "Each may call the function behind IAM."
  }
}

run "without_extras" {
  variables {
    create_dashboard                  = false
    create_operator_alerts            = false
    enable_apis                       = false
    restrict_deletion_to_gke_machines = false
    source_archive                    = { bucket = "builds", object = "failover-1.2.3.zip" }
  }

  assert {
    condition     = length(google_monitoring_dashboard.this) + length(google_monitoring_alert_policy.failed) + length(google_monitoring_alert_policy.not_helped) + length(google_monitoring_alert_policy.server_errors) + length(google_project_service.this) + length(google_storage_bucket.source) == 0
    error_message = "What is switched off is not made."
  }
  assert {
    condition     = alltrue([for m in google_project_iam_member.runtime : length(m.condition) == 0])
    error_message = "The condition can be left out."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].build_config[0].source[0].storage_source[0].object == "failover-1.2.3.zip"
    error_message = "The archive that is there is taken."
  }
}

run "direct_vpc" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
    gke_endpoint   = "private"
    vpc            = { network = "shared", subnetwork = "functions", tags = ["failover"] }
  }

  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].direct_vpc_network_interface[0].subnetwork == "functions" && google_cloudfunctions2_function.this["failover"].service_config[0].direct_vpc_egress == "VPC_EGRESS_PRIVATE_RANGES_ONLY"
    error_message = "Calls to private addresses go through the subnetwork."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].vpc_connector == null && google_cloudfunctions2_function.this["failover"].service_config[0].vpc_connector_egress_settings == null
    error_message = "Direct VPC egress and a connector exclude one another."
  }
}

run "vpc_connector" {
  variables {
    source_archive = { bucket = "builds", object = "failover.zip" }
    vpc            = { connector = "projects/my-project/locations/us-central1/connectors/c", all_traffic = true }
  }

  assert {
    condition     = google_cloudfunctions2_function.this["failover"].service_config[0].vpc_connector_egress_settings == "ALL_TRAFFIC" && length(google_cloudfunctions2_function.this["failover"].service_config[0].direct_vpc_network_interface) == 0
    error_message = "Everything goes through the connector."
  }
}
