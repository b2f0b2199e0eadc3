# Alerts by webhook, where Pub/Sub is not to be had. The function autometric-failover-webhook is open to the Internet and
# demands these credentials. TF_VAR_webhook_password=... terraform apply; it is in no state and no plan.

provider "google" {
  project = "my-project"
}

variable "webhook_password" {
  type      = string
  ephemeral = true
  sensitive = true
}

module "autometric_failover" {
  source = "../.."

  project_id = "my-project"
  region     = "us-central1"
  clusters   = ["projects/my-project/locations/us-central1/clusters/train"]

  webhook                  = { username = "cloud-monitoring" }
  webhook_password         = var.webhook_password
  webhook_password_version = 1

  # The policies are made elsewhere, with the label failover_action and the channel below.
  additional_alert_actions = ["cordon_nodepool"]
}

output "notification_channel" {
  value = module.autometric_failover.notification_channel
}

output "rbac_command" {
  value = module.autometric_failover.rbac_command
}

output "dry_run_command" {
  value = module.autometric_failover.dry_run_command
}
