terraform {
  required_version = ">= 1.11"

  required_providers {
    kubernetes = {
      source = "hashicorp/kubernetes"
      # The resources whose names end with _v1 came with 2.7.
      version = ">= 2.20, < 4.0"
    }
  }
}
