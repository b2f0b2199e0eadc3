# A cluster whose control plane is reached by its private IP address alone: the function goes through the VPC. Where the
# DNS endpoint allows external traffic, none of this is needed.

provider "google" {
  project = "my-project"
}

module "autometric_failover" {
  source = "../.."

  project_id = "my-project"
  region     = "us-central1"
  clusters   = ["projects/my-project/locations/us-central1/clusters/train"]
  invokers   = ["serviceAccount:pipeline@my-project.iam.gserviceaccount.com"]

  gke_endpoint     = "private"
  ingress_settings = "ALLOW_INTERNAL_ONLY"
  vpc = {
    network    = "projects/network-project/global/networks/shared"
    subnetwork = "projects/network-project/regions/us-central1/subnetworks/functions"
  }

  # A stricter limit than the default for the only cluster there is.
  max_pools_per_hour = 1
}

output "rbac_command" {
  value = module.autometric_failover.rbac_command
}

output "dry_run_command" {
  value = module.autometric_failover.dry_run_command
}
