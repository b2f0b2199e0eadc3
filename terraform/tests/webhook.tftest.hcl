# Alerts by webhook: the only thing here that the Internet can reach, so never without a password.

mock_provider "google" {
  source = "./tests/mocks"
}
mock_provider "archive" {}
mock_provider "time" {}

variables {
  # Reading the sources takes Terraform a second a run.
  source_archive = { bucket = "builds", object = "failover.zip" }

  project_id               = "my-project"
  region                   = "us-central1"
  clusters                 = ["projects/my-project/locations/us-central1/clusters/train"]
  additional_alert_actions = ["cordon_nodepool"]
  ingress_settings         = "ALLOW_INTERNAL_ONLY"
  webhook                  = { username = "monitoring" }
  webhook_password         = "a password of some length"
  webhook_password_version = 3
}

run "webhook" {
  assert {
    condition     = keys(google_cloudfunctions2_function.this) == ["failover", "webhook"] && google_cloudfunctions2_function.this["webhook"].build_config[0].entry_point == "failoverWebhook"
    error_message = "The webhook is a function of its own, with an entry point that takes alerts alone."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["webhook"].service_config[0].ingress_settings == "ALLOW_ALL" && google_cloudfunctions2_function.this["failover"].service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"
    error_message = "Only the webhook is open."
  }
  assert {
    condition     = google_cloud_run_service_iam_member.webhook[0].member == "allUsers" && google_cloud_run_service_iam_member.webhook[0].service == "autometric-failover-webhook"
    error_message = "Anybody may knock at the webhook."
  }
  assert {
    condition     = length(google_cloud_run_service_iam_member.invoker) + length(google_cloud_run_service_iam_member.push) == 0
    error_message = "Nobody is let in to the function behind IAM."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["webhook"].service_config[0].environment_variables == tomap(merge(google_cloudfunctions2_function.this["failover"].service_config[0].environment_variables, { WEBHOOK_USERNAME = "monitoring" }))
    error_message = "Both functions have the same limits."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["webhook"].service_config[0].secret_environment_variables[0].key == "WEBHOOK_PASSWORD" && google_cloudfunctions2_function.this["webhook"].service_config[0].secret_environment_variables[0].version == "7" && google_cloudfunctions2_function.this["webhook"].service_config[0].secret_environment_variables[0].project_id == "123456789012"
    error_message = "The password comes from Secret Manager, at a version."
  }
  assert {
    condition     = length(google_cloudfunctions2_function.this["failover"].service_config[0].secret_environment_variables) == 0
    error_message = "The function behind IAM does not get the password."
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.webhook_password[0].role == "roles/secretmanager.secretAccessor" && google_secret_manager_secret_iam_member.webhook_password[0].member == google_service_account.runtime.member
    error_message = "The function may read the password."
  }
  assert {
    condition     = google_monitoring_notification_channel.webhook[0].type == "webhook_basicauth" && google_monitoring_notification_channel.webhook[0].labels == tomap({ url = "https://autometric-failover-mock-uc.a.run.app/alerts", username = "monitoring" })
    error_message = "The channel posts to /alerts with its user name."
  }
  assert {
    condition     = google_monitoring_notification_channel.webhook[0].sensitive_labels[0].password_wo_version == "3" && tostring(google_secret_manager_secret_version.webhook_password[0].secret_data_wo_version) == "3"
    error_message = "Channel and secret change their password together."
  }
  assert {
    condition     = google_monitoring_notification_channel.webhook[0].sensitive_labels[0].password == null && google_secret_manager_secret_version.webhook_password[0].secret_data == null
    error_message = "The password is in no state."
  }
  assert {
    condition     = length(google_pubsub_topic.alerts) + length(google_monitoring_notification_channel.pubsub) == 0 && output.notification_channel == "projects/my-project/notificationChannels/1"
    error_message = "An alert comes one way, not two."
  }
  assert {
    # A stranger is refused before the channel of the request is known.
    condition     = strcontains(google_monitoring_alert_policy.failed[0].conditions[0].condition_matched_log[0].filter, "jsonPayload.outcome=\"refused\" AND jsonPayload.channel=(\"webhook\" OR \"push\")") && length(google_monitoring_alert_policy.webhook_credentials) == 1
    error_message = "Strangers who knock use up no notification of a failover that failed."
  }
}
