# One cluster, called by people: gcloud functions call, curl.

provider "google" {
  project = "my-project"
}

module "autometric_failover" {
  source = "../.."

  project_id = "my-project"
  region     = "us-central1"
  clusters   = ["projects/my-project/locations/us-central1/clusters/train"]
  invokers   = ["group:training-oncall@example.com"]
}

output "function_uri" {
  value = module.autometric_failover.function_uri
}

# Run what it prints once for each cluster. Until then every action fails with 502.
output "rbac_command" {
  value = module.autometric_failover.rbac_command
}

output "dry_run_command" {
  value = module.autometric_failover.dry_run_command
}
