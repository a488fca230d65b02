//! The Kubernetes manifests and the container image, as far as they can be tried without a cluster and without a container engine: rendered
//! by kubectl, held against the schemas of Kubernetes and against each other, and weir run with them where a pod would run it.
//!
//! What only an API server sees is in `just k8s-check`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "test code")]

#[path = "k8s/agree.rs"]
mod agree;
#[path = "k8s/configured.rs"]
mod configured;
#[path = "k8s/docs.rs"]
mod docs;
#[path = "k8s/image.rs"]
mod image;
#[path = "k8s/pod.rs"]
mod pod;
#[path = "k8s/render.rs"]
mod render;
