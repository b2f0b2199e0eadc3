# What has to be there before the rest, and how long that takes to arrive. Google answers that an API is enabled, a right is
# granted or an agent is made some time before that is true everywhere. Each wait is passed once; later applies do not wait.

locals {
  apis = var.enable_apis ? toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    # The service account's calls to GKE and Compute Engine count in its own project, so they are enabled here too.
    "compute.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ]) : []
}

resource "google_project_service" "this" {
  for_each = local.apis

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}

# By itself, because the project is read through it.
resource "google_project_service" "resource_manager" {
  count = var.enable_apis ? 1 : 0

  project            = var.project_id
  service            = "cloudresourcemanager.googleapis.com"
  disable_on_destroy = false
}

moved {
  from = google_project_service.this["cloudresourcemanager.googleapis.com"]
  to   = google_project_service.resource_manager[0]
}

# An API that was just enabled answers 403 SERVICE_DISABLED for a while.
resource "time_sleep" "apis" {
  count = var.enable_apis ? 1 : 0

  create_duration = "${var.propagation_seconds}s"
  triggers = {
    apis             = join(",", sort(local.apis))
    resource_manager = google_project_service.resource_manager[0].id
  }

  depends_on = [google_project_service.this]
}

# Where its API is enabled here, it is read after that and not before: the id is not known until then. With depends_on it would
# be read late at each change of the APIs, and everything that has the project's number would be replaced.
data "google_project" "this" {
  project_id = var.enable_apis ? split("/", time_sleep.apis[0].triggers["resource_manager"])[0] : var.project_id
}

# A build whose service account lacks a role yet fails, and the next apply would replace the function. So would a function that
# may not read its secret yet.
resource "time_sleep" "grants" {
  create_duration = "${var.propagation_seconds}s"
  triggers = {
    build  = join(",", [for grant in google_project_iam_member.build : grant.id])
    secret = join(",", google_secret_manager_secret_iam_member.webhook_password[*].id)
  }

  depends_on = [time_sleep.apis]
}

# Pub/Sub's agent comes with its API, Monitoring's with the project's first Pub/Sub channel. Until an agent is there, a grant to
# it is a 400.
resource "time_sleep" "agents" {
  count = local.pubsub_count

  create_duration = "${var.propagation_seconds}s"
  triggers        = { channel = google_monitoring_notification_channel.pubsub[0].name }

  depends_on = [google_pubsub_topic.dead_letters]
}
