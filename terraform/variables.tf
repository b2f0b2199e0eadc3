# Required first, then by name. What alerts may do is in variables-alerts.tf.

variable "clusters" {
  description = "The GKE clusters it may act on, as projects/P/locations/L/clusters/C. They may be in several projects."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.clusters) > 0 && length(distinct(var.clusters)) == length(var.clusters)
    error_message = "List at least one cluster, and each only once."
  }
  validation {
    condition     = alltrue([for c in var.clusters : can(regex("^projects/[a-z][a-z0-9.:-]{2,62}/locations/[a-z0-9-]{3,40}/clusters/[a-z][a-z0-9-]{0,39}$", c))])
    error_message = "Write each cluster by its full name: projects/PROJECT_ID/locations/LOCATION/clusters/NAME."
  }
}

variable "project_id" {
  description = "The project of the function, its topic, its alert policies and its dashboard."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "Give the project's id (not its number or its display name)."
  }
}

variable "region" {
  description = "The function's region; near the clusters, because every cordoned node is a call."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Give a region such as us-central1, not a zone."
  }
}

variable "accept_timeout_seconds" {
  description = "How long a repaired pool may take to pass its test, before the verdict is not_accepted (ACCEPT_TIMEOUT_SECONDS)."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.accept_timeout_seconds >= 60 && var.accept_timeout_seconds <= 86400 && floor(var.accept_timeout_seconds) == var.accept_timeout_seconds
    error_message = "accept_timeout_seconds must be whole seconds, from 60 to 86400."
  }
}

variable "action_deadline_seconds" {
  description = "How long one action may take (ACTION_DEADLINE_SECONDS). At least 30 s less than timeout_seconds, so that it can still be recorded and answered."
  type        = number
  default     = 240
  nullable    = false

  validation {
    condition     = var.action_deadline_seconds >= 30 && var.action_deadline_seconds <= var.timeout_seconds - 30 && floor(var.action_deadline_seconds) == var.action_deadline_seconds
    error_message = "The action's deadline must be whole seconds, at least 30 and at least 30 less than timeout_seconds."
  }
}

variable "allowed_actions" {
  description = "The types of action that it may carry out, from any caller (ALLOWED_ACTIONS)."
  type        = set(string)
  default     = ["cordon_and_repair_nodepool", "cordon_nodepool", "cordon_nodepool_and_restart_jobset", "repair_nodepool", "uncordon_nodepool"]
  nullable    = false

  validation {
    condition     = length(var.allowed_actions) > 0
    error_message = "Allow at least one action; a function that may do nothing is better not deployed."
  }
  validation {
    condition     = length(setsubtract(var.allowed_actions, ["cordon_and_repair_nodepool", "cordon_nodepool", "cordon_nodepool_and_restart_jobset", "repair_nodepool", "uncordon_nodepool"])) == 0
    error_message = "The actions are cordon_nodepool, cordon_nodepool_and_restart_jobset, cordon_and_repair_nodepool, repair_nodepool and uncordon_nodepool."
  }
}

variable "allowed_namespaces" {
  description = "The namespaces whose JobSets it may restart (ALLOWED_NAMESPACES). RBAC in the cluster must name the same ones."
  type        = set(string)
  default     = ["default"]
  nullable    = false

  validation {
    condition     = length(var.allowed_namespaces) > 0 && alltrue([for n in var.allowed_namespaces : can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", n))])
    error_message = "List at least one namespace, by its Kubernetes name; there is no wildcard."
  }
}

variable "approval_actions" {
  description = "The types of action whose plan another principal must approve before anything is done (APPROVAL_ACTIONS), also where an alert or a verdict asks for them."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.approval_actions, var.allowed_actions)) == 0
    error_message = "Only actions that allowed_actions lists can wait for an approval."
  }
}

variable "approval_ttl_seconds" {
  description = "How long an action waits for the approval of its plan (APPROVAL_TTL_SECONDS). Then it is settled, and nothing was done."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.approval_ttl_seconds >= 60 && var.approval_ttl_seconds <= 43200 && floor(var.approval_ttl_seconds) == var.approval_ttl_seconds
    error_message = "The time for an approval must be whole seconds from 60 to 43200 (12 hours)."
  }
}

variable "build" {
  description = "Where the function is built: an Artifact Registry repository (projects/P/locations/L/repositories/R) and a Cloud Build worker pool of your own, instead of the default ones."
  type = object({
    # projects/P/locations/L/repositories/R; the build's service account must be able to write there.
    docker_repository = optional(string)
    # projects/P/locations/L/workerPools/W
    worker_pool = optional(string)
  })
  default  = {}
  nullable = false
}

variable "concurrency" {
  description = "Requests that one instance takes at a time. An action waits for the network most of its time."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 80 && floor(var.concurrency) == var.concurrency
    error_message = "The concurrency must be a whole number from 1 to 80: more actions in one instance would share one CPU and its memory."
  }
}

variable "cooldown_seconds" {
  description = "How long the same pool is not repaired again, nor the same JobSet restarted from it again (COOLDOWN_SECONDS)."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.cooldown_seconds >= 0 && var.cooldown_seconds <= 604800 && floor(var.cooldown_seconds) == var.cooldown_seconds
    error_message = "The cooldown must be whole seconds from 0 to 604800 (a week)."
  }
}

variable "cordon_concurrency" {
  description = "How many nodes are cordoned at a time (CORDON_CONCURRENCY)."
  type        = number
  default     = 64
  nullable    = false

  validation {
    condition     = var.cordon_concurrency >= 1 && var.cordon_concurrency <= 512 && floor(var.cordon_concurrency) == var.cordon_concurrency
    error_message = "The cordon concurrency must be a whole number from 1 to 512."
  }
}

variable "cpu" {
  description = "CPUs of an instance. Below 1 Cloud Run refuses a concurrency above 1."
  type        = string
  default     = "1"
  nullable    = false

  validation {
    condition     = contains(["1", "2", "4"], var.cpu)
    error_message = "The function needs a whole CPU: choose \"1\", \"2\" or \"4\"."
  }
}

variable "create_dashboard" {
  description = "Whether to make the dashboard."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_operator_alerts" {
  description = "Whether to make the alerts about the function itself: a failover failed, a server error, alerts that nobody took."
  type        = bool
  default     = true
  nullable    = false
}

variable "enable_apis" {
  description = "Whether to enable the APIs it needs in project_id (they stay enabled on destroy)."
  type        = bool
  default     = true
  nullable    = false
}

variable "gke_endpoint" {
  description = "Which endpoint of a cluster to use (GKE_ENDPOINT): auto takes the DNS endpoint where it allows external traffic, else the IP endpoint; private needs vpc."
  type        = string
  default     = "auto"
  nullable    = false

  validation {
    condition     = contains(["auto", "dns", "public", "private"], var.gke_endpoint)
    error_message = "The endpoint must be auto, dns, public or private."
  }
  validation {
    condition     = var.gke_endpoint != "private" || var.vpc != null
    error_message = "A private endpoint is reached through a VPC only: set vpc, or use the DNS endpoint."
  }
}

variable "ingress_settings" {
  description = "Where failover may be called from: ALLOW_ALL (behind IAM), ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB. Pub/Sub push counts as internal; gcloud and curl on a laptop do not."
  type        = string
  default     = "ALLOW_ALL"
  nullable    = false

  validation {
    condition     = contains(["ALLOW_ALL", "ALLOW_INTERNAL_ONLY", "ALLOW_INTERNAL_AND_GCLB"], var.ingress_settings)
    error_message = "The ingress must be ALLOW_ALL, ALLOW_INTERNAL_ONLY or ALLOW_INTERNAL_AND_GCLB."
  }
}

variable "invokers" {
  description = "Who may call failover, as IAM members (user:…, group:…, serviceAccount:…). Each of them can act on every cluster listed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for m in var.invokers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+$", m))])
    error_message = "Name people, groups or service accounts. The function deletes machines: allUsers, allAuthenticatedUsers and whole domains are not accepted."
  }
}

variable "labels" {
  description = "Labels on every resource that has labels."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v)) && !startswith(k, "failover_")])
    error_message = "Labels have at most 63 lower-case letters, digits, dashes and underscores and begin with a letter; those that begin with failover_ say what an alert does."
  }
}

variable "max_attempts_per_day" {
  description = "How many repairs of one pool, and restarts of one JobSet, within 24 hours (MAX_ATTEMPTS_PER_DAY). One more is refused, because a person must look."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_attempts_per_day >= 1 && var.max_attempts_per_day <= 100 && floor(var.max_attempts_per_day) == var.max_attempts_per_day
    error_message = "max_attempts_per_day must be a whole number from 1 to 100."
  }
}

variable "max_instances" {
  description = "The most instances at a time. All of them agree through the Leases in the cluster."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 100 && floor(var.max_instances) == var.max_instances
    error_message = "The number of instances must be a whole number from 1 to 100."
  }
}

variable "max_pools_per_hour" {
  description = "How many node pools of one cluster are acted on within an hour (MAX_POOLS_PER_HOUR): a number, or a percentage of the cluster's accelerator pools such as \"10%\", rounded up. It stops the function when a broken metric turns every pool bad. The pools beyond it stay as they are: where more slices of one JobSet fail at once, its next attempt may land on a bad one."
  type        = string
  default     = "2"
  nullable    = false

  validation {
    condition     = can(regex("^([1-9][0-9]{0,2}|1000|([1-9][0-9]?|100)%)$", var.max_pools_per_hour))
    error_message = "The budget must be a whole number of pools from 1 to 1000, or a percentage from 1% to 100%."
  }
}

variable "memory" {
  description = "Memory of an instance."
  type        = string
  default     = "512Mi"
  nullable    = false

  validation {
    condition     = contains(["512Mi", "1Gi", "2Gi", "4Gi"], var.memory)
    error_message = "The memory must be 512Mi, 1Gi, 2Gi or 4Gi."
  }
  validation {
    condition     = var.cpu != "4" || contains(["2Gi", "4Gi"], var.memory)
    error_message = "Cloud Run gives 4 CPUs only with a memory of at least 2Gi."
  }
}

variable "min_instances" {
  description = "Instances that are kept warm. 0 costs nothing while idle."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.min_instances >= 0 && var.min_instances <= var.max_instances && floor(var.min_instances) == var.min_instances
    error_message = "The number of warm instances must be a whole number from 0 to max_instances."
  }
}

variable "name" {
  description = "The function's name, and the beginning of every other name. Two deployments in one project, or on one cluster's project, need two names."
  type        = string
  default     = "autometric-failover"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,22}[a-z0-9]$", var.name))
    error_message = "The name must have 6 to 24 lower-case letters, digits and dashes, and begin with a letter: service accounts are named after it."
  }
}

variable "operator_notification_channels" {
  description = "Notification channels of people (projects/P/notificationChannels/N), for the alerts about the function itself. Not a channel of this module: that would call the function about the function."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for c in var.operator_notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", c))])
    error_message = "Write each channel by its full name: projects/PROJECT/notificationChannels/NUMBER."
  }
}

variable "propagation_seconds" {
  description = "How long the first apply waits each time for what Google is late with: APIs that were just enabled, rights of the build, agents that do not exist yet. Increase it if a first apply still says 403 or 400; 0 does not wait."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.propagation_seconds >= 0 && var.propagation_seconds <= 600 && floor(var.propagation_seconds) == var.propagation_seconds
    error_message = "propagation_seconds must be whole seconds, from 0 to 600."
  }
}

variable "reconcile" {
  description = "Whether Cloud Scheduler calls the function once a minute, so that every action ends in a verdict and unfinished actions are carried on."
  type        = bool
  default     = true
  nullable    = false
}

variable "reconcile_region" {
  description = "The region of Cloud Scheduler's job, where Cloud Scheduler is not offered in the function's."
  type        = string
  default     = null

  validation {
    condition     = var.reconcile_region == null ? true : can(regex("^[a-z]+-[a-z]+[0-9]+$", var.reconcile_region))
    error_message = "Give a region such as us-central1, not a zone."
  }
}

variable "recovery_timeout_seconds" {
  description = "How long after a restart its run may take to be back, before the verdict is not_recovered (RECOVERY_TIMEOUT_SECONDS)."
  type        = number
  default     = 1200
  nullable    = false

  validation {
    condition     = var.recovery_timeout_seconds >= 60 && var.recovery_timeout_seconds <= 86400 && floor(var.recovery_timeout_seconds) == var.recovery_timeout_seconds
    error_message = "recovery_timeout_seconds must be whole seconds, from 60 to 86400."
  }
}

variable "repair_timeout_seconds" {
  description = "How long after a repair its machine may take to be back, before the verdict is not_repaired (REPAIR_TIMEOUT_SECONDS)."
  type        = number
  default     = 1800
  nullable    = false

  validation {
    condition     = var.repair_timeout_seconds >= 60 && var.repair_timeout_seconds <= 86400 && floor(var.repair_timeout_seconds) == var.repair_timeout_seconds
    error_message = "repair_timeout_seconds must be whole seconds, from 60 to 86400."
  }
}

variable "restrict_deletion_to_gke_machines" {
  description = "Whether the binding of the custom role carries the condition of deploy/gcp-role-condition.yaml, which lets it delete only machines whose names begin with gke-."
  type        = bool
  default     = true
  nullable    = false
}

variable "resume_within_seconds" {
  description = "For how long after its request an action that nobody works on is carried on (RESUME_WITHIN_SECONDS); 0 carries nothing on."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.resume_within_seconds >= 0 && var.resume_within_seconds <= 86400 && floor(var.resume_within_seconds) == var.resume_within_seconds
    error_message = "resume_within_seconds must be whole seconds, from 0 to 86400."
  }
}

variable "runtime" {
  description = "The Node.js runtime."
  type        = string
  default     = "nodejs24"
  nullable    = false

  validation {
    condition     = contains(["nodejs22", "nodejs24"], var.runtime)
    error_message = "The runtime must be nodejs24 or nodejs22."
  }
}

variable "source_archive" {
  description = "The archive of a release, or a zip of the sources, that is in a bucket already, instead of one made from this checkout."
  type = object({
    # Its name, without gs://. The build's service account is granted to read buckets whose names begin with it.
    bucket = string
    # A change of the object's name is a new deployment.
    object = string
  })
  default = null

  validation {
    condition     = var.source_archive == null ? true : can(regex("^[a-z0-9][a-z0-9._-]+$", var.source_archive.bucket)) && endswith(var.source_archive.object, ".zip")
    error_message = "Give the bucket's name without gs://, and the name of a zip in it."
  }
}

variable "timeout_seconds" {
  description = "The function's time-out. Pub/Sub waits 600 s for an answer, gcloud 300 s."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 60 && var.timeout_seconds <= 570 && floor(var.timeout_seconds) == var.timeout_seconds
    error_message = "The time-out must be whole seconds from 60 to 570: Pub/Sub delivers again what is not answered within 600."
  }
}

variable "viewers" {
  description = "Who may look and not act, as IAM members. With one of them, the function NAME-status (failoverStatus) is made, which only shows actions and clusters."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for m in var.viewers : can(regex("^(user|group|serviceAccount|principal|principalSet):.+$", m))])
    error_message = "Name people, groups or service accounts. What runs where, and who did what, is not for everybody: allUsers, allAuthenticatedUsers and whole domains are not accepted."
  }
}

variable "vpc" {
  description = "The way to clusters whose private IP endpoint is to be used: either a network and subnetwork (direct VPC egress) or a connector. The DNS endpoint needs none."
  type = object({
    network    = optional(string)
    subnetwork = optional(string)
    # Network tags, for firewall rules.
    tags = optional(list(string))
    # projects/P/locations/L/connectors/C
    connector = optional(string)
    # Everything, or only what goes to private addresses.
    all_traffic = optional(bool, false)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : (var.vpc.connector != null) != (var.vpc.network != null || var.vpc.subnetwork != null)
    error_message = "Give either a connector, or a network or subnetwork for direct VPC egress."
  }
}
