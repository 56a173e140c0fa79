//! kube_ext
