# Two clusters in two projects, and seven alert policies that call the function by Pub/Sub. The policies live in
# my-project, so its metrics scope must include other-project; a log match sees the logs of my-project alone.

provider "google" {
  project = "my-project"
}

resource "google_monitoring_notification_channel" "oncall" {
  # Not "my-project": in a fresh project the API must be enabled first.
  project      = module.autometric_failover.project_id
  display_name = "Training on call"
  type         = "email"
  labels       = { email_address = "training-oncall@example.com" }
}

module "autometric_failover" {
  source = "../.."

  project_id = "my-project"
  region     = "us-central1"
  clusters = [
    "projects/my-project/locations/us-central1/clusters/train",
    "projects/other-project/locations/us-east5/clusters/train-east",
  ]
  allowed_namespaces = ["default", "research"]
  invokers           = ["group:training-oncall@example.com"]
  labels             = { team = "training" }

  # Whom to tell when a failover failed.
  operator_notification_channels = [google_monitoring_notification_channel.oncall.name]

  # The same fault by its line in the log, which is there two minutes before an alert on it. Each rule gets its entries from
  # a sink in both clusters' projects. Dry runs until you take that label out; then the policy of that fault is not needed.
  log_rules = {
    xid-79 = {
      log      = "serialconsole.googleapis.com/serial_port_1_output"
      contains = ["NVRM: Xid", "): 79,"]
      labels = {
        failover_action  = "cordon_and_repair_nodepool"
        failover_repair  = "report_faulty_host"
        failover_fault   = "xid"
        failover_dry_run = "true"
      }
    }
    host-error = {
      log    = "cloudaudit.googleapis.com/system_event"
      method = "compute.instances.hostError"
      labels = {
        failover_action  = "cordon_nodepool_and_restart_jobset"
        failover_dry_run = "true"
      }
    }
  }

  alert_policies = {
    # A machine that stays not ready: cordon its pool, have the machine repaired, and uncordon the pool once every node of
    # it is well again. The kubelet says False, and when it falls silent the control plane says Unknown; either counts. A
    # node that an upgrade, a resize or a repair takes away has no series any more, so its absence opens no incident.
    node-not-ready = {
      action   = "cordon_and_repair_nodepool"
      on_close = "uncordon_nodepool"
      conditions = [{
        display_name = "A node has not been ready for 5 minutes"
        threshold = {
          filter          = "resource.type = \"k8s_node\" AND metric.type = \"kubernetes.io/node/status_condition\" AND metric.labels.condition = \"Ready\" AND metric.labels.status != \"True\""
          threshold_value = 0.5
          duration        = "300s"
          aggregations = [{
            per_series_aligner = "ALIGN_FRACTION_TRUE"
            # One series a node, whichever of the two statuses it has.
            cross_series_reducer = "REDUCE_MAX"
            group_by_fields      = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.node_name"]
          }]
        }
      }]
    }

    # A multi-host TPU slice that has a fault: cordon it and restart the one JobSet that runs on it, which then starts on
    # another slice. The metric is also false while GKE upgrades, resizes or deletes the pool: those reasons do not count.
    slice-unavailable = {
      action   = "cordon_nodepool_and_restart_jobset"
      on_close = "uncordon_nodepool"
      conditions = [{
        display_name = "A TPU slice has been unavailable for 2 minutes"
        threshold = {
          filter          = "resource.type = \"k8s_node_pool\" AND metric.type = \"kubernetes.io/node_pool/multi_host/available\" AND metric.labels.unavailability_reason = one_of(\"Unhealthy\", \"MachineNotRunning\", \"Unallocatable\", \"RebootEvent\")"
          comparison      = "COMPARISON_LT"
          threshold_value = 0.5
          duration        = "120s"
          # A series of these reasons exists only while the slice is bad, so its end closes the incident.
          evaluation_missing_data = "EVALUATION_MISSING_DATA_INACTIVE"
          aggregations = [{
            per_series_aligner = "ALIGN_FRACTION_TRUE"
            # One series a pool, whichever of the reasons it has.
            cross_series_reducer = "REDUCE_MIN"
            group_by_fields      = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.node_pool_name"]
          }]
        }
      }]
    }

    # The hardware failed under a node. GKE repairs that by itself; the run moves on at once. A dry run: it logs
    # what would be done and changes nothing.
    host-error = {
      action  = "cordon_nodepool_and_restart_jobset"
      dry_run = true
      conditions = [{
        display_name = "A host error ended a node"
        threshold = {
          filter       = "resource.type = \"k8s_node\" AND metric.type = \"kubernetes.io/node/interruption_count\" AND metric.labels.interruption_reason = \"HostError\""
          aggregations = [{ per_series_aligner = "ALIGN_MAX" }]
        }
      }]
    }

    # The GPU driver says on the serial console that a device fell off the bus (Xid 79). The machines must write the console
    # to Cloud Logging (metadata serial-port-logging-enable=true). A log match has no close. The bad host is reported, because a
    # deletion may draw it again; leave repair and fault out where GKE cannot report hosts.
    gpu-fell-off-the-bus = {
      action        = "cordon_and_repair_nodepool"
      repair        = "report_faulty_host"
      fault         = "xid"
      documentation = "The node is cordoned with its pool and its host is reported. See docs/runbook.md."
      conditions = [{
        display_name = "Xid 79"
        matched_log  = { filter = "resource.type=\"gce_instance\" AND log_id(\"serialconsole.googleapis.com/serial_port_1_output\") AND textPayload=~\"NVRM: Xid .*: 79,\"" }
      }]
    }

    # The GPU driver says that memory of a GPU has an uncorrectable error (Xid 48). Google repairs no host for that Xid alone, and a
    # reboot clears it; the pool is uncordoned once the node is back with its accelerators. Data on local SSDs may not survive.
    gpu-double-bit-ecc = {
      action                 = "cordon_and_repair_nodepool"
      repair                 = "reboot"
      uncordon_when_repaired = true
      conditions = [{
        display_name = "Xid 48"
        matched_log  = { filter = "resource.type=\"gce_instance\" AND log_id(\"serialconsole.googleapis.com/serial_port_1_output\") AND textPayload=~\"NVRM: Xid .*: 48,\"" }
      }]
    }

    # GKE says that a multi-host TPU node pool is in the status Error, for example because machines cannot be created. No failover
    # mends that, so people are told, and the log of the dry run says how many nodes of the pool a run could still start on.
    node-pool-error = {
      action                = "cordon_nodepool"
      dry_run               = true
      on_close              = "uncordon_nodepool"
      notification_channels = [google_monitoring_notification_channel.oncall.name]
      conditions = [{
        display_name = "A TPU node pool has been in the status Error for 10 minutes"
        threshold = {
          filter                  = "resource.type = \"k8s_node_pool\" AND metric.type = \"kubernetes.io/node_pool/status\" AND metric.labels.status = \"Error\""
          threshold_value         = 0.5
          duration                = "600s"
          evaluation_missing_data = "EVALUATION_MISSING_DATA_INACTIVE"
          aggregations = [{
            per_series_aligner   = "ALIGN_FRACTION_TRUE"
            cross_series_reducer = "REDUCE_MAX"
            group_by_fields      = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.node_pool_name"]
          }]
        }
      }]
    }

    # A JobSet that was up has had no uptime for two hours. Leave it a dry run: Cloud Monitoring shows this metric up to an hour
    # late, and a JobSet that has ended or was deleted has no uptime either. People are told, and the log says what a restart would do.
    jobset-not-up = {
      action                = "cordon_nodepool_and_restart_jobset"
      dry_run               = true
      notification_channels = [google_monitoring_notification_channel.oncall.name]
      conditions = [{
        display_name = "A JobSet has not been up for 2 hours"
        absent = {
          filter   = "resource.type = \"k8s_entity\" AND resource.labels.entity_type = \"jobset\" AND metric.type = \"kubernetes.io/jobset/uptime\""
          duration = "7200s"
          aggregations = [{
            per_series_aligner   = "ALIGN_MAX"
            cross_series_reducer = "REDUCE_MAX"
            group_by_fields      = ["resource.label.project_id", "resource.label.location", "resource.label.cluster_name", "resource.label.entity_type", "resource.label.entity_namespace", "resource.label.entity_name"]
          }]
        }
      }]
    }
  }
}

output "rbac_command" {
  value = module.autometric_failover.rbac_command
}

output "alert_actions" {
  value = module.autometric_failover.alert_actions
}

output "dry_run_command" {
  value = module.autometric_failover.dry_run_command
}
