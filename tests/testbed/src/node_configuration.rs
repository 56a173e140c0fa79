//! The configuration files of what runs on a node.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::images;
use crate::layout::{DNS_SERVICE, DOMAIN, NodeLayout};

/// Where containerd keeps what a restart of the machine would lose. It is the node's own.
pub const RUNTIME_STATE: &str = "/run/containerd";

/// Makes the node's disk and writes the configuration files onto it.
pub fn write(node: &NodeLayout) -> Result<()> {
    let disk = node.disk();
    for directory in ["cni.d", "cni", "log", "tmp", "kubelet", "containerd", "plugins", "opt"] {
        let path = disk.join(directory);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    }
    fs::write(disk.join("containerd.toml"), containerd(node))?;
    write_json(&disk.join("kubelet.json"), &kubelet(node))?;
    write_json(&disk.join("cni.d/pods.conflist"), &pod_network(node))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("writing {}", path.display()))
}

fn containerd(node: &NodeLayout) -> String {
    let disk = node.disk();
    let disk = disk.display();
    let socket = node.containerd_socket();
    let socket = socket.display();
    let pause = images::PAUSE;
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE a score cannot be lowered.
    // opt: containerd would make its default directory, /opt/containerd, on the machine.
    format!(
        r#"version = 2
root = "{disk}/containerd"
state = "{RUNTIME_STATE}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{disk}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{pause}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{disk}/cni.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
    )
}

fn kubelet(node: &NodeLayout) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // The kubelet's port is reachable from the bed's own namespaces only.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "failSwapOn": false,
        "failCgroupV1": false,
        // Settings of the kernel and the OOM killer's log are out of reach in a namespace.
        "featureGates": {"KubeletInUserNamespace": true},
        "containerRuntimeEndpoint": format!("unix://{}", node.containerd_socket().display()),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "address": node.address(),
        "healthzPort": 0,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        // How full the machine's disk is does not concern the node.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
        "maxPods": 110,
        "podsPerCore": 0,
        "serializeImagePulls": false,
        "volumePluginDir": node.disk().join("plugins"),
    })
}

fn pod_network(node: &NodeLayout) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": false,
                // A pod may reach itself through its own service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": node.disk().join("cni/addresses"),
                    "ranges": [[{"subnet": node.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}
