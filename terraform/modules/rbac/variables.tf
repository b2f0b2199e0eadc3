# Required first, then by name.

variable "email" {
  description = "The function's service account: the output service_account_email."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.-]+@[a-z0-9.-]+$", var.email))
    error_message = "Give the e-mail address of the service account, without serviceAccount: before it."
  }
}

variable "unique_id" {
  description = "The same as a number: the output service_account_unique_id. GKE takes it for the name where a token lacks the e-mail scope."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+$", var.unique_id))
    error_message = "Give the number of the service account (unique_id), not its name."
  }
}

variable "acceptance" {
  description = "Whether it may make Jobs in its own namespace, for tests of repaired pools that are CronJobs (docs/api.md, Acceptance)."
  type        = bool
  default     = false
  nullable    = false
}

variable "create_lease" {
  description = "Whether to make the Lease cluster, too, which people annotate to pause the function. Its kind of resource needs the cluster while Terraform plans; false is for a configuration that also makes the cluster. The function makes the Lease with its first action."
  type        = bool
  default     = true
  nullable    = false
}

variable "namespaces" {
  description = "The namespaces whose JobSets it may restart, as in allowed_namespaces. They must exist."
  type        = set(string)
  default     = ["default"]
  nullable    = false

  validation {
    condition     = length(var.namespaces) > 0 && alltrue([for n in var.namespaces : can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", n))])
    error_message = "List at least one namespace, by its Kubernetes name; there is no wildcard."
  }
}
