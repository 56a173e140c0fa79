//! What a broker's pod may not have unless whoever runs the operator allows it: ways to the node and to other
//! pods. Whoever may create a BrokerCluster makes pods by it, in the name of the operator.
//!
//! Namespaces that enforce the Pod Security level `restricted` refuse most of it too, but the priority
//! classes, and the refusal would be one of pods that the StatefulSet makes later.

use k8s_openapi::api::core::v1::PodSecurityContext;

use super::validate::Invalid;
use crate::api::v1alpha1::BrokerClusterSpec;

/// What to do about any of these.
const REMEDY: &str =
    "take it out, or let an administrator install the operator with privilegedPods.allow=true";

/// Fields with a privilege, and the remedy.
pub fn problems(spec: &BrokerClusterSpec) -> Vec<Invalid> {
    let pod = &spec.pod;
    let mut found: Vec<(&str, String)> = Vec::new();
    for volume in pod.volumes.iter().filter(|volume| volume.host_path.is_some()) {
        found.push(("pod.volumes", format!("{} is a hostPath: files of the node", volume.name)));
    }
    if let Some(class) = pod.priority_class_name.as_ref().filter(|it| it.starts_with("system-")) {
        let why = "is for the control plane: pods of it evict others";
        found.push(("pod.priorityClassName", format!("{class} {why}")));
    }
    let context = pod.security_context.iter().flat_map(of_context);
    found.extend(context.map(|text| ("pod.securityContext", text)));
    let invalid = |(field, what): (&str, String)| Invalid {
        field: field.to_owned(),
        problem: format!("{what}; {REMEDY}"),
    };
    found.into_iter().map(invalid).collect()
}

/// As the Pod Security level `restricted` has it.
fn of_context(context: &PodSecurityContext) -> Vec<String> {
    let seccomp = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    let app_armor = context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str());
    let windows = context.windows_options.as_ref().and_then(|options| options.host_process);
    let has = [
        (context.run_as_user == Some(0), "runAsUser: 0 is root"),
        (context.run_as_non_root == Some(false), "runAsNonRoot: false lets an image run as root"),
        (seccomp == Some("Unconfined"), "seccompProfile: Unconfined permits all system calls"),
        (app_armor == Some("Unconfined"), "appArmorProfile: Unconfined permits all files"),
        (context.se_linux_options.is_some(), "seLinuxOptions may name another domain"),
        (context.sysctls.as_ref().is_some_and(|all| !all.is_empty()), "sysctls change the kernel"),
        (windows == Some(true), "windowsOptions.hostProcess: true runs on the node itself"),
    ];
    has.into_iter().filter(|(has, _)| *has).map(|(_, text)| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pod: &str) -> Vec<String> {
        let text = format!("{{storage: {{sharedVolume: {{claimName: a}}}}, pod: {pod}}}");
        let spec = serde_saphyr::from_str(&text).unwrap();
        problems(&spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_privilege_is_refused_by_its_field_and_value_with_the_remedy() {
        for (pod, words) in [
            ("{volumes: [{name: x, hostPath: {path: /}}]}", "spec.pod.volumes: x is a hostPath"),
            (
                "{priorityClassName: system-node-critical}",
                "spec.pod.priorityClassName: system-node-",
            ),
            ("{securityContext: {runAsUser: 0}}", "spec.pod.securityContext: runAsUser: 0"),
            ("{securityContext: {runAsNonRoot: false}}", "runAsNonRoot: false"),
            (
                "{securityContext: {seccompProfile: {type: Unconfined}}}",
                "seccompProfile: Unconfined",
            ),
            ("{securityContext: {appArmorProfile: {type: Unconfined}}}", "appArmorProfile"),
            ("{securityContext: {seLinuxOptions: {type: spc_t}}}", "seLinuxOptions"),
            ("{securityContext: {sysctls: [{name: a, value: b}]}}", "sysctls"),
            ("{securityContext: {windowsOptions: {hostProcess: true}}}", "hostProcess"),
        ] {
            let found = found(pod);
            assert_eq!(found.len(), 1, "{pod}: {found:?}");
            assert!(found[0].contains(words) && found[0].ends_with(REMEDY), "{pod}: {found:?}");
        }
    }

    #[test]
    fn an_ordinary_pod_has_none() {
        for pod in [
            "{}",
            "{volumes: [{name: x, configMap: {name: y}}], priorityClassName: important}",
            "{securityContext: {runAsUser: 2000, runAsGroup: 0, fsGroup: 2000, runAsNonRoot: true, \
             seccompProfile: {type: RuntimeDefault}}}",
        ] {
            assert_eq!(found(pod), Vec::<String>::new(), "{pod}");
        }
    }
}
