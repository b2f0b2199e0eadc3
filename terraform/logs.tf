# From a log line to the function: sink -> topic -> the push subscription of the alerts. The function looks at each entry
# again, so what the sink sends and what a rule means cannot drift apart.

locals {
  log_rules = {
    for id, r in var.log_rules : id => merge(
      { log = r.log, resource_type = r.resource_type },
      r.contains == null ? {} : { contains = r.contains },
      r.method == null ? {} : { method = r.method },
      { labels = r.labels },
    )
  }

  # Text matches take either case, as the function does.
  log_filters = [for r in values(var.log_rules) : join(" AND ", concat(
    ["resource.type=\"${r.resource_type}\"", "log_id(\"${r.log}\")"],
    r.method == null ? [] : ["protoPayload.methodName=\"${r.method}\""],
    [for t in coalesce(r.contains, []) : "(textPayload:${jsonencode(t)} OR jsonPayload.message:${jsonencode(t)} OR jsonPayload.MESSAGE:${jsonencode(t)})"],
  ))]
  log_projects = length(var.log_rules) == 0 ? [] : distinct([for c in var.clusters : split("/", c)[1]])
}

# Each project keeps the logs of its own machines.
resource "google_logging_project_sink" "this" {
  for_each = toset(local.log_projects)

  project                = each.value
  name                   = var.name
  description            = "Sends ${var.name} the log entries that it acts on."
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.alerts[0].id}"
  filter                 = join(" OR ", [for f in local.log_filters : "(${f})"])
  unique_writer_identity = true

  # What a sink sends before the function takes it is lost only after an hour, but it would be stale.
  depends_on = [time_sleep.apis, google_pubsub_subscription.alerts]
}

resource "google_pubsub_topic_iam_member" "logs" {
  for_each = google_logging_project_sink.this

  project = var.project_id
  topic   = google_pubsub_topic.alerts[0].name
  role    = "roles/pubsub.publisher"
  member  = each.value.writer_identity
}
