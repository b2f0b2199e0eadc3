# One page: what was done, how long it took, whether the function is well, whether alerts get through, and its log. The API
# drops zeros and empty lists, so they are left out here; else no plan would ever be empty.

resource "google_monitoring_dashboard" "this" {
  count = var.create_dashboard ? 1 : 0

  project = var.project_id
  dashboard_json = jsonencode({
    displayName = var.name
    labels      = { "autometric-failover" = "" }
    mosaicLayout = {
      columns = 48
      tiles = [for i, widget in local.widgets : merge(
        { width = 24, height = 16, widget = widget },
        { for side, position in { xPos = i % 2 * 24, yPos = floor(i / 2) * 16 } : side => position if position > 0 },
      )]
    }
  })

  depends_on = [
    google_logging_metric.actions, google_logging_metric.duration, google_logging_metric.open_actions,
    google_logging_metric.recovery_seconds, google_logging_metric.verdicts,
  ]
}

locals {
  of_function = "resource.type=\"cloud_run_revision\" AND ${local.services_of_metric}"

  widgets = [for w in concat(
    [
      {
        title = "Actions by outcome (no dry runs)"
        plots = [{
          type    = "STACKED_BAR"
          legend  = "$${metric.labels.outcome}"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.actions.name}\" AND ${local.of_function} AND metric.labels.dry_run != \"true\""
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_SUM"
          by      = ["metric.label.outcome"]
        }]
      },
      {
        title = "Actions by type"
        plots = [{
          type    = "STACKED_BAR"
          legend  = "$${metric.labels.type} (dry run: $${metric.labels.dry_run})"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.actions.name}\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_SUM"
          by      = ["metric.label.type", "metric.label.dry_run"]
        }]
      },
      {
        title = "Duration of an action"
        plots = [for percentile in [50, 99] : {
          type    = "LINE"
          legend  = "p${percentile} $${metric.labels.type}"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.duration.name}\" AND ${local.of_function} AND metric.labels.outcome=\"done\""
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_PERCENTILE_${format("%02d", percentile)}"
          by      = ["metric.label.type"]
        }]
      },
      {
        title = "Run or machine back after (s)"
        plots = [for percentile in [50, 95] : {
          type    = "LINE"
          legend  = "p${percentile} $${metric.labels.verdict}"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.recovery_seconds.name}\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_PERCENTILE_${format("%02d", percentile)}"
          by      = ["metric.label.verdict"]
        }]
      },
      {
        title = "What became of actions"
        plots = [{
          type    = "STACKED_BAR"
          legend  = "$${metric.labels.verdict} $${metric.labels.type}"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.verdicts.name}\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_SUM"
          by      = ["metric.label.verdict", "metric.label.type"]
        }]
      },
      {
        title = "Open actions"
        plots = [{
          type    = "LINE"
          legend  = "$${metric.labels.cluster}"
          filter  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.open_actions.name}\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          # The values themselves; a percentile would be guessed within a bucket.
          reducer = "REDUCE_MEAN"
          by      = ["metric.label.cluster"]
        }]
      },
      {
        title = "Answers of the function"
        plots = [{
          type    = "STACKED_BAR"
          legend  = "$${resource.labels.service_name} $${metric.labels.response_code}"
          filter  = "metric.type=\"run.googleapis.com/request_count\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_SUM"
          by      = ["resource.label.service_name", "metric.label.response_code"]
        }]
      },
      {
        title = "Start of an instance"
        plots = [{
          type    = "LINE"
          legend  = "p99 $${resource.labels.service_name}"
          filter  = "metric.type=\"run.googleapis.com/container/startup_latencies\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_PERCENTILE_99"
          by      = ["resource.label.service_name"]
        }]
      },
      {
        title = "Memory in use"
        plots = [{
          type    = "LINE"
          legend  = "p99 $${resource.labels.service_name}"
          filter  = "metric.type=\"run.googleapis.com/container/memory/utilizations\" AND ${local.of_function}"
          aligner = "ALIGN_DELTA"
          reducer = "REDUCE_PERCENTILE_99"
          by      = ["resource.label.service_name"]
        }]
      },
    ],
    [for s in google_pubsub_subscription.alerts[*].name : {
      title = "Alerts not taken yet"
      plots = [{
        type    = "LINE"
        legend  = "age of the oldest (s)"
        filter  = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${s}\""
        aligner = "ALIGN_MAX"
        reducer = "REDUCE_MAX"
        by      = []
      }]
    }],
    [for s in google_pubsub_subscription.dead_letters[*].name : {
      title = "Alerts that nobody took (dead letters)"
      plots = [{
        type    = "LINE"
        legend  = "messages"
        filter  = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${s}\""
        aligner = "ALIGN_MAX"
        reducer = "REDUCE_MAX"
        by      = []
      }]
    }],
    [
      { title = "How each request ended", log = local.last_lines },
      { title = "Warnings and errors", log = "resource.type=\"cloud_run_revision\" AND ${local.services_of_log} AND severity>=WARNING" },
    ],
    ) : jsondecode(can(w.log) ? jsonencode({
      title = w.title
      logsPanel = {
        filter        = w.log
        resourceNames = ["projects/${var.project_id}"]
      }
      }) : jsonencode({
      title = w.title
      xyChart = {
        chartOptions = { mode = "COLOR" }
        dataSets = [for plot in w.plots : {
          plotType       = plot.type
          legendTemplate = plot.legend
          targetAxis     = "Y1"
          timeSeriesQuery = {
            timeSeriesFilter = {
              filter = plot.filter
              aggregation = merge(
                { alignmentPeriod = "60s", perSeriesAligner = plot.aligner, crossSeriesReducer = plot.reducer },
                { for name, fields in { groupByFields = plot.by } : name => fields if length(fields) > 0 },
              )
            }
          }
        }]
      }
  }))]
}
