# What deploy/rbac.sh applies, out of the same YAML: the function's namespace, the Lease that people annotate, and its rights.

locals {
  rbac   = "${path.module}/../../../deploy/rbac"
  labels = yamldecode(file("${local.rbac}/base/kustomization.yaml")).labels[0].pairs

  # What is the same in each cluster, what is there once for each namespace of JobSets, and what is there if it is wanted.
  common = flatten([
    for name in yamldecode(file("${local.rbac}/base/kustomization.yaml")).resources : [
      for document in split("\n---\n", file("${local.rbac}/base/${name}")) : yamldecode(document)
    ]
  ])
  training = flatten([
    for name in yamldecode(file("${local.rbac}/training-namespace/kustomization.yaml")).resources : [
      for document in split("\n---\n", file("${local.rbac}/training-namespace/${name}")) : [
        for namespace in var.namespaces : merge(yamldecode(document), {
          metadata = merge(yamldecode(document).metadata, { namespace = namespace })
        })
      ]
    ]
  ])
  acceptance = flatten([
    for name in yamldecode(file("${local.rbac}/acceptance/kustomization.yaml")).resources : [
      for document in split("\n---\n", file("${local.rbac}/acceptance/${name}")) : yamldecode(document)
    ]
  ])
  manifests = concat(local.common, local.training, [for m in local.acceptance : m if var.acceptance])

  namespace        = one([for m in local.manifests : m if m.kind == "Namespace"])
  lease            = one([for m in local.manifests : m if m.kind == "Lease"])
  cluster_roles    = { for m in local.manifests : m.metadata.name => m if m.kind == "ClusterRole" }
  cluster_bindings = { for m in local.manifests : m.metadata.name => m if m.kind == "ClusterRoleBinding" }
  roles            = { for m in local.manifests : "${m.metadata.namespace}/${m.metadata.name}" => m if m.kind == "Role" }
  bindings         = { for m in local.manifests : "${m.metadata.namespace}/${m.metadata.name}" => m if m.kind == "RoleBinding" }

  # The placeholders of the YAML.
  names = { EMAIL = var.email, UNIQUE_ID = var.unique_id }
}

resource "kubernetes_namespace_v1" "this" {
  metadata {
    name   = local.namespace.metadata.name
    labels = local.labels
  }
}

# Metadata only: the function writes the rest, and people annotate it.
resource "kubernetes_manifest" "lease" {
  count = var.create_lease ? 1 : 0

  manifest = merge(local.lease, { metadata = merge(local.lease.metadata, { labels = local.labels }) })

  depends_on = [kubernetes_namespace_v1.this]
}

resource "kubernetes_cluster_role_v1" "this" {
  for_each = local.cluster_roles

  metadata {
    name   = each.value.metadata.name
    labels = local.labels
  }
  dynamic "rule" {
    for_each = each.value.rules
    content {
      api_groups = rule.value.apiGroups
      resources  = rule.value.resources
      verbs      = rule.value.verbs
    }
  }
}

resource "kubernetes_cluster_role_binding_v1" "this" {
  for_each = local.cluster_bindings

  metadata {
    name   = each.value.metadata.name
    labels = local.labels
  }
  role_ref {
    api_group = each.value.roleRef.apiGroup
    kind      = each.value.roleRef.kind
    name      = kubernetes_cluster_role_v1.this[each.value.roleRef.name].metadata[0].name
  }
  dynamic "subject" {
    for_each = each.value.subjects
    content {
      api_group = subject.value.apiGroup
      kind      = subject.value.kind
      name      = local.names[subject.value.name]
      # A user has none, and the provider would write "default".
      namespace = ""
    }
  }
}

resource "kubernetes_role_v1" "this" {
  for_each = local.roles

  metadata {
    name      = each.value.metadata.name
    namespace = each.value.metadata.namespace
    labels    = local.labels
  }
  dynamic "rule" {
    for_each = each.value.rules
    content {
      api_groups = rule.value.apiGroups
      resources  = rule.value.resources
      verbs      = rule.value.verbs
    }
  }

  depends_on = [kubernetes_namespace_v1.this]
}

resource "kubernetes_role_binding_v1" "this" {
  for_each = local.bindings

  metadata {
    name      = each.value.metadata.name
    namespace = each.value.metadata.namespace
    labels    = local.labels
  }
  role_ref {
    api_group = each.value.roleRef.apiGroup
    kind      = each.value.roleRef.kind
    name      = kubernetes_role_v1.this[each.key].metadata[0].name
  }
  dynamic "subject" {
    for_each = each.value.subjects
    content {
      api_group = subject.value.apiGroup
      kind      = subject.value.kind
      name      = local.names[subject.value.name]
      # A user has none, and the provider would write "default".
      namespace = ""
    }
  }
}
