# What is uploaded, by allow-list: no node_modules, no .env and no .git can slip in. deploy/build*.ts is what the build
# runs. A new name for new content makes the function be deployed again.

locals {
  source_files = sort(distinct(flatten([
    for pattern in ["package.json", "package-lock.json", "tsconfig.json", "src/**/*.ts", "src/**/*.json", "deploy/build*.ts"] :
    tolist(fileset(local.root, pattern))
  ])))
  source_bucket = var.source_archive == null ? one(google_storage_bucket.source[*].name) : var.source_archive.bucket
}

data "archive_file" "source" {
  count = var.source_archive == null ? 1 : 0

  type             = "zip"
  output_path      = "${path.root}/.terraform/${var.name}-source.zip"
  output_file_mode = "0644"

  dynamic "source" {
    for_each = local.source_files
    content {
      filename = source.value
      content  = file("${local.root}/${source.value}")
    }
  }
}

resource "google_storage_bucket" "source" {
  count = var.source_archive == null ? 1 : 0

  project                     = var.project_id
  name                        = "${replace(var.project_id, ":", "-")}-${var.name}-source"
  location                    = var.region
  labels                      = var.labels
  force_destroy               = true
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true

  depends_on = [time_sleep.apis]
}

resource "google_storage_bucket_object" "source" {
  count = var.source_archive == null ? 1 : 0

  bucket = google_storage_bucket.source[0].name
  name   = "source-${data.archive_file.source[0].output_sha256}.zip"
  source = data.archive_file.source[0].output_path
}
