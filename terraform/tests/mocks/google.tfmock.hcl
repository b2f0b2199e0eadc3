# What Google would fill in. Only what something else is made of; the rest is made up by Terraform.

mock_resource "google_cloudfunctions2_function" {
  defaults = {
    service_config = { uri = "https://autometric-failover-mock-uc.a.run.app" }
  }
}

mock_resource "google_project_service" {
  defaults = { id = "my-project/mock.googleapis.com" }
}

mock_resource "google_service_account" {
  defaults = {
    email     = "mock@my-project.iam.gserviceaccount.com"
    member    = "serviceAccount:mock@my-project.iam.gserviceaccount.com"
    id        = "projects/my-project/serviceAccounts/mock@my-project.iam.gserviceaccount.com"
    name      = "projects/my-project/serviceAccounts/mock@my-project.iam.gserviceaccount.com"
    unique_id = "100000000000000000001"
  }
}

mock_resource "google_pubsub_topic" {
  defaults = { id = "projects/my-project/topics/mock" }
}

mock_resource "google_monitoring_notification_channel" {
  defaults = { name = "projects/my-project/notificationChannels/1" }
}

mock_resource "google_secret_manager_secret" {
  defaults = { id = "projects/123456789012/secrets/mock" }
}

mock_resource "google_secret_manager_secret_version" {
  defaults = { version = "7" }
}

mock_data "google_project" {
  defaults = { number = "123456789012" }
}

mock_resource "google_logging_project_sink" {
  defaults = { writer_identity = "serviceAccount:service-123456789012@gcp-sa-logging.iam.gserviceaccount.com" }
}
