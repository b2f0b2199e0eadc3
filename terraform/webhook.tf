# The opt-in way for alerts: Cloud Monitoring's webhook can not carry an OIDC token, so its function is open to the
# Internet and asks for Basic credentials itself. The password goes from an ephemeral variable into write-only arguments.

locals {
  webhook_count = var.webhook == null ? 0 : 1
}

resource "google_monitoring_notification_channel" "webhook" {
  count = local.webhook_count

  project      = var.project_id
  display_name = "${var.name} (webhook)"
  description  = "Calls the function ${var.name}-webhook: it acts on what the policy's failover_ labels say."
  type         = "webhook_basicauth"
  labels = {
    url      = "${google_cloudfunctions2_function.this["webhook"].service_config[0].uri}/alerts"
    username = var.webhook.username
  }
  user_labels = var.labels

  sensitive_labels {
    password_wo         = var.webhook_password
    password_wo_version = tostring(var.webhook_password_version)
  }
}

resource "google_cloud_run_service_iam_member" "webhook" {
  count = local.webhook_count

  project  = var.project_id
  location = var.region
  service  = google_cloudfunctions2_function.this["webhook"].name
  role     = "roles/run.invoker"
  member   = "allUsers"

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.this["webhook"].id]
  }
}

resource "google_secret_manager_secret" "webhook_password" {
  count = local.webhook_count

  project   = var.project_id
  secret_id = "${var.name}-webhook-password"
  labels    = var.labels

  replication {
    auto {}
  }

  depends_on = [time_sleep.apis]
}

resource "google_secret_manager_secret_version" "webhook_password" {
  count = local.webhook_count

  secret                 = google_secret_manager_secret.webhook_password[0].id
  secret_data_wo         = var.webhook_password
  secret_data_wo_version = var.webhook_password_version

  # An instance that starts meanwhile still finds the old one.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "webhook_password" {
  count = local.webhook_count

  project   = var.project_id
  secret_id = google_secret_manager_secret.webhook_password[0].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}
