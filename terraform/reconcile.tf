# Cloud Scheduler calls POST /reconcile once a minute: the function then finds out what became of what it did, and carries on
# what an instance left unfinished.

locals {
  reconcile_count = var.reconcile ? 1 : 0
}

resource "google_service_account" "reconcile" {
  count = local.reconcile_count

  project      = var.project_id
  account_id   = "${var.name}-tick"
  display_name = "Autometric failover: Cloud Scheduler's calls to it"

  depends_on = [time_sleep.apis]
}

resource "google_cloud_run_service_iam_member" "reconcile" {
  count = local.reconcile_count

  project  = var.project_id
  location = var.region
  service  = google_cloudfunctions2_function.this["failover"].name
  role     = "roles/run.invoker"
  member   = google_service_account.reconcile[0].member

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.this["failover"].id]
  }
}

resource "google_cloud_scheduler_job" "reconcile" {
  count = local.reconcile_count

  project     = var.project_id
  region      = coalesce(var.reconcile_region, var.region)
  name        = "${var.name}-reconcile"
  description = "Has ${var.name} find out what became of what it did"
  schedule    = "* * * * *"
  time_zone   = "Etc/UTC"
  # As long as the function may take. Cloud Scheduler does not begin a call while the one before it runs.
  attempt_deadline = "${var.timeout_seconds}s"

  http_target {
    http_method = "POST"
    uri         = "${local.function_uri}/reconcile"

    oidc_token {
      service_account_email = google_service_account.reconcile[0].email
      audience              = local.function_uri
    }
  }

  # The next minute is the retry.
  retry_config {
    retry_count = 0
  }

  depends_on = [google_cloud_run_service_iam_member.reconcile]
}
