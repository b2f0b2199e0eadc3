# What Cloud Monitoring may have done, and how its notifications come here.

variable "additional_alert_actions" {
  description = "Actions that alert policies made elsewhere ask for; they are added to ALERT_ACTIONS. With one of these, or one of alert_policies, the notification channel is made."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.additional_alert_actions, var.allowed_actions)) == 0
    error_message = "An alert may ask only for what allowed_actions lists."
  }
}

variable "alert_policies" {
  description = "Alert policies that call the function, by a short name. action, on_close, on_failure, uncordon_when_repaired, accept, approval, repair, fault, restart_grace_seconds, jobset, namespace, cluster, dry_run, expected_node_counts, spare_capacity and when_no_spare become the policy's failover_ labels; the rest is the policy itself, each condition one of threshold, absent, matched_log and promql."
  type = map(object({
    # What an open alert does: one of allowed_actions.
    action = string
    # What a close does: uncordon_nodepool.
    on_close = optional(string)
    # What follows a restart that did not bring the run back: repair_nodepool or cordon_and_repair_nodepool.
    on_failure = optional(string)
    # Uncordon the pool once the machine is back.
    uncordon_when_repaired = optional(bool, false)
    # The test before that: a CronJob in the function's namespace, or, with a _, a node label that must become "passed".
    accept = optional(string)
    # "required": another principal must approve the plan before anything is done.
    approval = optional(string)
    # How the machine is repaired: delete (the default), reboot, maintenance or report_faulty_host.
    repair = optional(string)
    # What is wrong with a host that is reported: performance, silent_data_corruption, xid or unspecified.
    fault = optional(string)
    # How many seconds the pods of the restarted attempt get to end, if fewer than their own.
    restart_grace_seconds = optional(number)
    # Which JobSet; without it the one on the pool.
    jobset = optional(string)
    # Of the JobSet: one of allowed_namespaces.
    namespace = optional(string)
    # The cluster's short name, where the alert does not say it.
    cluster = optional(string)
    # Log what would be done, and change nothing.
    dry_run = optional(bool, false)
    # Refuse unless the pool has as many nodes as its TPU topology says.
    expected_node_counts = optional(bool, false)
    # Refuse a restart unless whole free slices for all its Jobs are outside the pool.
    spare_capacity = optional(bool, false)
    # What is done where they are not: restart (the default), refuse, or repair, which repairs the pool in place.
    when_no_spare = optional(string)

    # After this long without data the incident closes.
    auto_close = optional(string, "1800s")
    combiner   = optional(string, "OR")
    # NAME: the key of the policy, unless given.
    display_name = optional(string)
    # For people who read the incident, in Markdown.
    documentation = optional(string)
    enabled       = optional(bool, true)
    # Of people, beside the function.
    notification_channels = optional(list(string), [])
    # Log matches only: at most one notification in this time.
    notification_rate_limit = optional(string, "300s")
    severity                = optional(string, "CRITICAL")
    # Labels of your own; failover_ labels are written by the module.
    user_labels = optional(map(string), {})

    # One to six, each with exactly one of threshold, absent, matched_log and promql; a log match stands alone.
    conditions = list(object({
      display_name = string
      threshold = optional(object({
        filter                  = string
        comparison              = optional(string, "COMPARISON_GT")
        threshold_value         = optional(number, 0)
        duration                = optional(string, "0s")
        evaluation_missing_data = optional(string)
        trigger_count           = optional(number)
        aggregations = optional(list(object({
          alignment_period     = optional(string, "60s")
          per_series_aligner   = string
          cross_series_reducer = optional(string)
          group_by_fields      = optional(list(string))
        })), [])
      }))
      absent = optional(object({
        filter   = string
        duration = string
        aggregations = optional(list(object({
          alignment_period     = optional(string, "60s")
          per_series_aligner   = string
          cross_series_reducer = optional(string)
          group_by_fields      = optional(list(string))
        })), [])
      }))
      matched_log = optional(object({
        filter           = string
        label_extractors = optional(map(string))
      }))
      promql = optional(object({
        query               = string
        duration            = optional(string, "0s")
        evaluation_interval = optional(string, "60s")
      }))
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for p in var.alert_policies : contains(var.allowed_actions, p.action)])
    error_message = "The action of an alert policy must be one of allowed_actions."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.on_close == null ? true : p.on_close == "uncordon_nodepool" && contains(var.allowed_actions, p.on_close)])
    error_message = "All that on_close can do is uncordon_nodepool, and allowed_actions must list it."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.on_close == null || alltrue([for c in p.conditions : c.matched_log == null])])
    error_message = "A log-match condition never tells that it closed, so its policy can not have on_close."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.on_failure == null ? true : p.action == "cordon_nodepool_and_restart_jobset" && contains(["cordon_and_repair_nodepool", "repair_nodepool"], p.on_failure) && contains(var.allowed_actions, p.on_failure)])
    error_message = "on_failure follows a restart: with the action cordon_nodepool_and_restart_jobset it is repair_nodepool or cordon_and_repair_nodepool, and allowed_actions must list it."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : !p.uncordon_when_repaired ? true : (p.on_failure != null || contains(["cordon_and_repair_nodepool", "repair_nodepool"], p.action)) && contains(var.allowed_actions, "uncordon_nodepool")])
    error_message = "uncordon_when_repaired is for a policy that repairs or has on_failure, and allowed_actions must list uncordon_nodepool."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.accept == null ? true : can(regex("^[a-z0-9]([a-z0-9_-]{0,50}[a-z0-9])?$", p.accept)) && p.on_close == null && (p.uncordon_when_repaired || p.when_no_spare == "repair")])
    error_message = "accept goes with uncordon_when_repaired or when_no_spare = repair, and not with on_close: at most 52 lowercase letters, digits, - and _, because it becomes a label of the policy."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.restart_grace_seconds == null ? true : p.action == "cordon_nodepool_and_restart_jobset" && p.restart_grace_seconds >= 0 && p.restart_grace_seconds <= 3600 && floor(p.restart_grace_seconds) == p.restart_grace_seconds])
    error_message = "restart_grace_seconds is for a policy that restarts: a whole number of seconds from 0 to 3600."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : coalesce(p.approval, "required") == "required"])
    error_message = "All that approval can be is required."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.repair == null ? true : contains(["cordon_and_repair_nodepool", "repair_nodepool"], p.action) && contains(["delete", "reboot", "maintenance", "report_faulty_host"], p.repair)])
    error_message = "repair is for a policy that repairs: delete, reboot, maintenance or report_faulty_host."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : (p.fault != null) == (coalesce(p.repair, "delete") == "report_faulty_host") && (p.fault == null ? true : contains(["performance", "silent_data_corruption", "xid", "unspecified"], p.fault))])
    error_message = "fault goes with repair = report_faulty_host, and with nothing else: performance, silent_data_corruption, xid or unspecified."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.when_no_spare == null ? true : p.action == "cordon_nodepool_and_restart_jobset" && contains(["restart", "refuse", "repair"], p.when_no_spare)])
    error_message = "when_no_spare is for the action cordon_nodepool_and_restart_jobset: restart, refuse or repair."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.when_no_spare == "repair" ? length(setsubtract(["cordon_and_repair_nodepool", "uncordon_nodepool"], var.allowed_actions)) == 0 : true])
    error_message = "For when_no_spare = repair, allowed_actions must list cordon_and_repair_nodepool and uncordon_nodepool."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : !p.spare_capacity || (p.action == "cordon_nodepool_and_restart_jobset" && coalesce(p.when_no_spare, "refuse") == "refuse")])
    error_message = "spare_capacity is for the action cordon_nodepool_and_restart_jobset, and refuses without capacity, so when_no_spare can only be refuse."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.jobset == null || p.action == "cordon_nodepool_and_restart_jobset"])
    error_message = "Only cordon_nodepool_and_restart_jobset takes a jobset."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.namespace == null ? true : contains(var.allowed_namespaces, p.namespace)])
    error_message = "The namespace of an alert policy must be one of allowed_namespaces."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : p.cluster == null ? true : contains([for c in var.clusters : split("/", c)[5]], p.cluster)])
    error_message = "The cluster of an alert policy must be the short name of one of clusters."
  }
  validation {
    condition     = alltrue(flatten([for p in var.alert_policies : [for l in [p.jobset, p.namespace, p.cluster] : l == null ? true : can(regex("^[a-z0-9_-]{1,63}$", l))]]))
    error_message = "jobset, namespace and cluster become labels of the policy: at most 63 lower-case letters, digits, dashes and underscores."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : alltrue([for k, v in p.user_labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v)) && !startswith(k, "failover_")])])
    error_message = "Labels of a policy have at most 63 lower-case letters, digits, dashes and underscores and begin with a letter; those that begin with failover_ are written by this module, from action, jobset and so on."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : length(p.conditions) >= 1 && length(p.conditions) <= 6 && alltrue([for c in p.conditions : length([for k in [c.threshold, c.absent, c.matched_log, c.promql] : 1 if k != null]) == 1])])
    error_message = "A policy has one to six conditions, each with exactly one of threshold, absent, matched_log and promql."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : length(p.conditions) == 1 || alltrue([for c in p.conditions : c.matched_log == null])])
    error_message = "A log-match condition must be the only one of its policy."
  }
  validation {
    condition     = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : c.threshold == null ? true : contains(["COMPARISON_GT", "COMPARISON_LT"], c.threshold.comparison)]]))
    error_message = "Cloud Monitoring takes COMPARISON_GT and COMPARISON_LT alone."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : contains(["AND", "OR", "AND_WITH_MATCHING_RESOURCE"], p.combiner) && contains(["CRITICAL", "ERROR", "WARNING"], p.severity)])
    error_message = "The combiner must be OR, AND or AND_WITH_MATCHING_RESOURCE, the severity CRITICAL, ERROR or WARNING."
  }
  validation {
    condition     = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : [for d in [try(c.threshold.duration, null), try(c.absent.duration, null), try(c.promql.duration, null)] : d == null ? true : can(regex("^[0-9]+s$", d)) && try(tonumber(trimsuffix(d, "s")) % 60 == 0, false)]]]))
    error_message = "Durations are whole minutes in seconds, such as \"0s\" or \"300s\"."
  }
  validation {
    condition     = alltrue([for p in var.alert_policies : can(regex("^[0-9]+s$", p.auto_close)) && try(tonumber(trimsuffix(p.auto_close, "s")) >= 1800, false)])
    error_message = "auto_close is at least 30 minutes, written in seconds: \"1800s\"."
  }
  validation {
    condition     = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : try(c.threshold.evaluation_missing_data, null) == null ? true : c.threshold.duration != "0s"]]))
    error_message = "evaluation_missing_data needs a duration of at least 60 s."
  }
  # A cross-series reducer drops every label that it does not group by, and the function must find the machine by them.
  validation {
    condition = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : [
      for a in concat(try(coalesce(c.threshold).aggregations, []), try(coalesce(c.absent).aggregations, [])) :
      contains(["REDUCE_NONE", ""], coalesce(a.cross_series_reducer, "REDUCE_NONE")) ? true :
      length(setsubtract(["project_id", "location", "cluster_name"], [for f in coalesce(a.group_by_fields, []) : replace(f, "/^resource\\.labels?\\./", "")])) == 0
      || length(setsubtract(["project_id", "zone", "instance_id"], [for f in coalesce(a.group_by_fields, []) : replace(f, "/^resource\\.labels?\\./", "")])) == 0
    ]]]))
    error_message = "A condition with a cross_series_reducer keeps only the labels in group_by_fields: keep resource.label.project_id, resource.label.location and resource.label.cluster_name (or project_id, zone and instance_id of a VM), and the label that names the node or the pool."
  }
  validation {
    condition = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : [
      for a in concat(try(coalesce(c.threshold).aggregations, []), try(coalesce(c.absent).aggregations, [])) :
      contains(["REDUCE_NONE", ""], coalesce(a.cross_series_reducer, "REDUCE_NONE")) || p.jobset != null ? true :
      length(setintersection(["node_name", "node_pool_name", "pod_name", "instance_id", "entity_name"], [for f in coalesce(a.group_by_fields, []) : replace(f, "/^resource\\.labels?\\./", "")])) > 0
    ]]]))
    error_message = "group_by_fields must keep the label that says where: resource.label.node_name, node_pool_name, pod_name, entity_name or instance_id."
  }
  validation {
    condition = alltrue(flatten([for p in var.alert_policies : [for c in p.conditions : [
      for fields in [for a in concat(try(coalesce(c.threshold).aggregations, []), try(coalesce(c.absent).aggregations, [])) : [for f in coalesce(a.group_by_fields, []) : replace(f, "/^resource\\.labels?\\./", "")]] :
      !contains(fields, "pod_name") || contains(fields, "namespace_name")
    ]]]))
    error_message = "A pod is found by its name and its namespace: where group_by_fields keeps resource.label.pod_name, it must keep resource.label.namespace_name, too."
  }
}

variable "grant_token_creator" {
  description = "Whether to let the Pub/Sub service agent make tokens of the push service account. Needed only in projects whose agent dates from before April 2021."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_rules" {
  description = "Log entries that call the function within seconds, by a short name: a sink in each cluster's project sends what fits to the topic of the alerts (LOG_RULES). An entry fits with all of contains in its text, or with method in an audit log. Where several rules fit, the first by name decides. The function checks the labels when it starts."
  type = map(object({
    # Which log: serialconsole.googleapis.com/serial_port_1_output, for one.
    log = string
    # Whose: gce_instance or k8s_node. A container's own lines have no say.
    resource_type = optional(string, "gce_instance")
    # All of these are in the text, in any case.
    contains = optional(list(string))
    # The method of an entry of an audit log.
    method = optional(string)
    # The failover_ labels of a policy, without failover_on_close; failover_action is one of allowed_actions.
    labels = map(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(var.log_rules) == 0 || var.webhook == null
    error_message = "A log sink sends by Pub/Sub, so log_rules do not go with webhook."
  }
  validation {
    condition     = alltrue([for id, r in var.log_rules : can(regex("^[a-z][a-z0-9_-]{0,62}$", id))])
    error_message = "A rule is named by at most 63 lower-case letters, digits, dashes and underscores, and begins with a letter."
  }
  validation {
    condition     = alltrue([for r in var.log_rules : (r.contains == null) != (r.method == null) && (r.contains == null ? true : length(r.contains) > 0)])
    error_message = "A rule has either contains, a list of texts, or method."
  }
  validation {
    condition     = alltrue(flatten([for r in var.log_rules : [for t in coalesce(r.contains, []) : length(t) >= 3 && length(t) <= 200]]))
    error_message = "Each text of contains has 3 to 200 characters."
  }
  validation {
    condition     = alltrue([for r in var.log_rules : contains(["gce_instance", "k8s_node"], r.resource_type)])
    error_message = "resource_type is gce_instance or k8s_node: what a container writes must not have machines repaired."
  }
  validation {
    condition     = alltrue([for r in var.log_rules : can(regex("^[A-Za-z0-9._/-]{1,511}$", r.log)) && (r.method == null ? true : can(regex("^[A-Za-z0-9._]{3,200}$", r.method)))])
    error_message = "log is the id of a log, not encoded, such as cloudaudit.googleapis.com/system_event; method is the name of a method, such as compute.instances.hostError."
  }
  validation {
    condition     = alltrue([for r in var.log_rules : alltrue([for a in [lookup(r.labels, "failover_action", ""), lookup(r.labels, "failover_on_failure", "repair_nodepool")] : contains(var.allowed_actions, a)])])
    error_message = "failover_action of a log rule, and failover_on_failure, must be one of allowed_actions."
  }
  validation {
    condition     = alltrue([for r in var.log_rules : alltrue([for k in keys(r.labels) : startswith(k, "failover_") && k != "failover_on_close"])])
    error_message = "labels are failover_ labels; failover_on_close is none of them, because nothing tells that a log entry is over."
  }
}

variable "max_alert_age_seconds" {
  description = "Alerts older than this are not acted on (MAX_ALERT_AGE_SECONDS)."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.max_alert_age_seconds >= 60 && var.max_alert_age_seconds <= 86400 && floor(var.max_alert_age_seconds) == var.max_alert_age_seconds
    error_message = "The age of an alert must be whole seconds from 60 to 86400 (a day)."
  }
}

variable "webhook" {
  description = "Take notifications by webhook instead of Pub/Sub: a second function that anybody can reach and that demands these Basic credentials. Needs webhook_password."
  type = object({
    username = string
  })
  default = null

  validation {
    condition     = var.webhook == null ? true : can(regex("^[^:[:space:]]+$", var.webhook.username))
    error_message = "The user name must not be empty, nor have a colon or white space."
  }
  validation {
    condition     = var.webhook == null || length(var.alert_policies) + length(var.additional_alert_actions) > 0
    error_message = "A webhook that may do nothing is not opened: give alert_policies or additional_alert_actions."
  }
}

variable "webhook_password" {
  description = "The webhook's password, 16 characters or more. Ephemeral: in no state and no plan; give it to every plan and apply (TF_VAR_webhook_password)."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.webhook == null || var.webhook_password != null
    error_message = "The webhook is public, so it needs webhook_password (set TF_VAR_webhook_password)."
  }
  validation {
    condition     = var.webhook_password == null ? true : length(var.webhook_password) >= 16
    error_message = "The webhook's password must have at least 16 characters."
  }
}

variable "webhook_password_version" {
  description = "Increase it by one to hand over another webhook_password; Terraform cannot see that it changed."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.webhook_password_version >= 1 && floor(var.webhook_password_version) == var.webhook_password_version
    error_message = "The password's version must be a whole number from 1."
  }
}
