output "namespace" {
  description = "Where the function keeps its Leases. Destroying it deletes what the function remembers."
  value       = kubernetes_namespace_v1.this.metadata[0].name
}
