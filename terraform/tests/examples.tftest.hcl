# The examples are applied as they stand.

mock_provider "google" {
  source = "./tests/mocks"
}
mock_provider "archive" {}
mock_provider "time" {}

variables {
  webhook_password = "a password of some length"
}

run "minimal" {
  module {
    source = "./examples/minimal"
  }
  providers = {
    google  = google
    archive = archive
    time    = time
  }

  assert {
    condition     = output.function_uri == "https://autometric-failover-mock-uc.a.run.app"
    error_message = "It says where to call it."
  }
}

run "alerts" {
  module {
    source = "./examples/alerts"
  }
  providers = {
    google  = google
    archive = archive
    time    = time
  }

  assert {
    condition     = output.alert_actions == tolist(["cordon_and_repair_nodepool", "cordon_nodepool", "cordon_nodepool_and_restart_jobset", "uncordon_nodepool"])
    error_message = "The policies' actions, and what they do on close, are what alerts may ask for."
  }
  assert {
    condition     = strcontains(output.rbac_command, "--namespaces default,research ")
    error_message = "RBAC names the same namespaces as the function."
  }
  assert {
    condition     = fileexists(split(" ", output.rbac_command)[0])
    error_message = "The script of the command is there, from the directory that Terraform runs in."
  }
}

run "webhook" {
  module {
    source = "./examples/webhook"
  }
  providers = {
    google  = google
    archive = archive
    time    = time
  }

  assert {
    condition     = output.notification_channel == "projects/my-project/notificationChannels/1"
    error_message = "It gives the channel for policies made elsewhere."
  }
}

run "private_cluster" {
  module {
    source = "./examples/private-cluster"
  }
  providers = {
    google  = google
    archive = archive
    time    = time
  }

  assert {
    condition     = strcontains(output.rbac_command, "--unique-id 100000000000000000001 ")
    error_message = "RBAC names the service account by its number too."
  }
}
