# The function, once behind IAM and, where they are wanted, once more for people who only look, and once more for Cloud
# Monitoring's webhook alone.

locals {
  root = "${path.module}/.."

  functions = merge(
    {
      failover = {
        name        = var.name
        description = "Cordons a GKE node pool, restarts its JobSet, repairs its machine"
        entry_point = "failover"
        ingress     = var.ingress_settings
        environment = {}
      }
    },
    length(var.viewers) == 0 ? {} : {
      status = {
        name        = "${var.name}-status"
        description = "Shows what ${var.name} did and how its clusters stand, and does nothing else"
        entry_point = "failoverStatus"
        ingress     = var.ingress_settings
        environment = {}
      }
    },
    var.webhook == null ? {} : {
      webhook = {
        name        = "${var.name}-webhook"
        description = "Takes Cloud Monitoring's webhook notifications for ${var.name}"
        entry_point = "failoverWebhook"
        ingress     = "ALLOW_ALL"
        environment = { WEBHOOK_USERNAME = var.webhook.username }
      }
    },
  )

  environment = merge(
    {
      ACTION_DEADLINE_SECONDS = tostring(var.action_deadline_seconds)
      ALLOWED_ACTIONS         = join(",", sort(var.allowed_actions))
      ALLOWED_NAMESPACES      = join(",", sort(var.allowed_namespaces))
      APPROVAL_TTL_SECONDS    = tostring(var.approval_ttl_seconds)
      CLUSTERS                = join(",", var.clusters)
      COOLDOWN_SECONDS        = tostring(var.cooldown_seconds)
      CORDON_CONCURRENCY      = tostring(var.cordon_concurrency)
      GKE_ENDPOINT            = var.gke_endpoint
      # Not set by the platform; log lines name their trace by it.
      GOOGLE_CLOUD_PROJECT     = var.project_id
      MAX_ALERT_AGE_SECONDS    = tostring(var.max_alert_age_seconds)
      MAX_ATTEMPTS_PER_DAY     = tostring(var.max_attempts_per_day)
      MAX_POOLS_PER_HOUR       = var.max_pools_per_hour
      RECOVERY_TIMEOUT_SECONDS = tostring(var.recovery_timeout_seconds)
      REPAIR_TIMEOUT_SECONDS   = tostring(var.repair_timeout_seconds)
      ACCEPT_TIMEOUT_SECONDS   = tostring(var.accept_timeout_seconds)
      RESUME_WITHIN_SECONDS    = tostring(var.resume_within_seconds)
      # Less room for young objects: a cordon of 2,304 nodes takes a seventh less memory, and no longer.
      NODE_OPTIONS = "--max-semi-space-size=4"
      # Set by the platform in any case; named here so that the plan stays empty.
      LOG_EXECUTION_ID = "true"
    },
    length(var.approval_actions) > 0 ? { APPROVAL_ACTIONS = join(",", sort(var.approval_actions)) } : {},
    # An empty list would mean the default, which is everything that is allowed.
    local.takes_alerts ? { ALERT_ACTIONS = join(",", local.alert_actions) } : {},
    length(var.log_rules) == 0 ? {} : { LOG_RULES = jsonencode(local.log_rules) },
  )
}

resource "google_cloudfunctions2_function" "this" {
  for_each = local.functions

  project     = var.project_id
  location    = var.region
  name        = each.value.name
  description = each.value.description
  labels      = var.labels

  build_config {
    runtime           = var.runtime
    entry_point       = each.value.entry_point
    docker_repository = var.build.docker_repository
    worker_pool       = var.build.worker_pool
    service_account   = google_service_account.build.id

    source {
      storage_source {
        bucket = local.source_bucket
        object = var.source_archive == null ? one(google_storage_bucket_object.source[*].name) : var.source_archive.object
      }
    }

    # Security patches of the base image come without a deployment.
    automatic_update_policy {}
  }

  service_config {
    available_cpu                    = var.cpu
    available_memory                 = var.memory
    environment_variables            = merge(local.environment, each.value.environment)
    ingress_settings                 = each.value.ingress
    max_instance_count               = var.max_instances
    max_instance_request_concurrency = var.concurrency
    min_instance_count               = var.min_instances
    service_account_email            = google_service_account.runtime.email
    timeout_seconds                  = var.timeout_seconds

    dynamic "secret_environment_variables" {
      for_each = each.key == "webhook" ? google_secret_manager_secret_version.webhook_password : []
      content {
        key        = "WEBHOOK_PASSWORD"
        project_id = data.google_project.this.number
        secret     = one(google_secret_manager_secret.webhook_password[*].secret_id)
        # A number and not "latest": an instance reads it once, when it starts.
        version = secret_environment_variables.value.version
      }
    }

    direct_vpc_egress = local.direct_vpc ? (var.vpc.all_traffic ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY") : null
    dynamic "direct_vpc_network_interface" {
      for_each = local.direct_vpc ? [var.vpc] : []
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
        tags       = direct_vpc_network_interface.value.tags
      }
    }
    vpc_connector                 = try(var.vpc.connector, null)
    vpc_connector_egress_settings = try(var.vpc.connector, null) == null ? null : var.vpc.all_traffic ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY"
  }

  depends_on = [time_sleep.grants]
}

locals {
  direct_vpc = try(var.vpc.network, null) != null || try(var.vpc.subnetwork, null) != null
}

