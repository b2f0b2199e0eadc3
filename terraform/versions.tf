terraform {
  # Write-only arguments (the webhook's password) came with 1.11.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.21 has direct VPC egress for functions, 7.32 the last of its fixes that matter here.
      version = ">= 7.32, < 9.0"
    }
    time = {
      source  = "hashicorp/time"
      version = ">= 0.9, < 1.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = ">= 2.7, < 3.0"
    }
  }
}
