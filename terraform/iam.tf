# Three service accounts, each with what its own part needs: the function, its build, and Pub/Sub's calls to it.

locals {
  role           = yamldecode(file("${local.root}/gcp-role.yaml"))
  role_condition = yamldecode(file("${local.root}/deploy/gcp-role-condition.yaml"))

  cluster_projects = toset([for c in var.clusters : split("/", c)[1]])

  # Where Cloud Run functions keeps the sources of a build, and where they came from.
  build_reads = ["gcf-v2-sources-${data.google_project.this.number}-${var.region}", local.source_bucket]
}

resource "google_service_account" "runtime" {
  project      = var.project_id
  account_id   = var.name
  display_name = "Autometric failover: the function"
  description  = "Known to GKE's RBAC by this e-mail and by its unique id (deploy/rbac)."

  depends_on = [time_sleep.apis]
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.cluster_projects

  project     = each.value
  role_id     = replace(var.name, "-", "_")
  title       = local.role.title
  description = local.role.description
  stage       = local.role.stage
  permissions = local.role.includedPermissions

  depends_on = [time_sleep.apis]
}

resource "google_project_iam_member" "runtime" {
  for_each = local.cluster_projects

  project = each.value
  role    = google_project_iam_custom_role.this[each.value].name
  member  = google_service_account.runtime.member

  dynamic "condition" {
    for_each = var.restrict_deletion_to_gke_machines ? [local.role_condition] : []
    content {
      title       = condition.value.title
      description = condition.value.description
      expression  = condition.value.expression
    }
  }
}

resource "google_service_account" "build" {
  project      = var.project_id
  account_id   = "${var.name}-build"
  display_name = "Autometric failover: its build"

  depends_on = [time_sleep.apis]
}

# A build runs the scripts of every dependency, so it reads the function's sources and no other bucket of the project.
resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter", "roles/storage.objectViewer"])

  project = var.project_id
  role    = each.value
  member  = google_service_account.build.member

  dynamic "condition" {
    for_each = each.value == "roles/storage.objectViewer" ? [1] : []
    content {
      title       = "function-sources-only"
      description = "The buckets that hold the function's sources."
      expression  = join(" || ", [for b in local.build_reads : "resource.name.startsWith(\"projects/_/buckets/${b}\")"])
    }
  }
}

# Cloud Run asks for run.invoker. A function that is made anew begins without its bindings.
resource "google_cloud_run_service_iam_member" "invoker" {
  for_each = var.invokers

  project  = var.project_id
  location = var.region
  service  = google_cloudfunctions2_function.this["failover"].name
  role     = "roles/run.invoker"
  member   = each.value

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.this["failover"].id]
  }
}

resource "google_cloud_run_service_iam_member" "viewer" {
  for_each = var.viewers

  project  = var.project_id
  location = var.region
  service  = google_cloudfunctions2_function.this["status"].name
  role     = "roles/run.invoker"
  member   = each.value

  lifecycle {
    replace_triggered_by = [google_cloudfunctions2_function.this["status"].id]
  }
}
