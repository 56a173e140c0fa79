use super::*;
use crate::broker::classic::fragment;

fn check(spec: &str) -> Result<Sizes, Vec<Problem>> {
    let spec = format!("storage: {{sharedVolume: {{claimName: a}}}}\n{spec}");
    let spec: BrokerClusterSpec = serde_saphyr::from_str(&spec).unwrap();
    let xml = spec.broker.config.xml.as_deref().unwrap_or_default();
    sizes(&spec, &fragment::parse(xml).unwrap().usage)
}

fn temp(limit: &str) -> String {
    format!(
        "broker: {{config: {{xml: '<systemUsage><systemUsage><tempUsage><tempUsage limit=\"{limit}\"/></tempUsage></systemUsage></systemUsage>'}}}}"
    )
}

#[test]
fn tmp_holds_the_temporary_store() {
    for (spec, tmp) in [(String::new(), "2560Mi"), (temp("100 mb"), "612Mi")] {
        assert_eq!(mebibytes(check(&spec).unwrap().tmp), tmp);
    }
}

#[test]
fn a_disk_limit_below_the_temporary_store_is_refused() {
    let pod = "\npod: {resources: {limits: {memory: 1Gi, ephemeral-storage: 1200Mi}}}";
    assert!(check(&(temp("100 mb") + pod)).is_ok());
    let problems = check(&(temp("1 gb") + pod)).unwrap_err();
    let [(field, text)] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(*field, "pod.resources");
    for words in ["1200Mi", "raise the limit to 2048Mi", "<tempUsage>"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

fn problem(spec: &str) -> String {
    let problems = check(spec).expect_err(spec);
    let [(field, text)] = problems.as_slice() else { panic!("{problems:?}") };
    format!("{field}: {text}")
}

#[test]
fn the_heap_leaves_room_in_the_container() {
    for (spec, heap) in [
        ("", "512Mi"),
        ("broker: {java: {heap: 70%}}", "717Mi"),
        ("broker: {java: {heap: 2Gi}}\npod: {resources: {limits: {memory: 4Gi}}}", "2048Mi"),
        ("broker: {java: {heap: 2Gi}}\npod: {resources: {limits: {cpu: 2}}}", "2048Mi"),
        ("broker: {java: {heap: 64Mi}}\npod: {resources: {limits: {memory: 320Mi}}}", "64Mi"),
    ] {
        assert_eq!(mebibytes(check(spec).unwrap().heap), heap, "{spec}");
    }
    for (spec, words) in [
        ("broker: {java: {heap: 2Gi}}", "memory limit is 1024Mi"),
        ("broker: {java: {heap: 1Gi}}", "memory to 1280Mi"),
        ("broker: {java: {heap: 80%}}", "lower the heap"),
        ("pod: {resources: {limits: {cpu: 2}}}", "set pod.resources.limits.memory"),
        ("pod: {resources: {}}", "50% is a part of"),
        ("broker: {java: {heap: 600Mi}}\npod: {resources: {limits: {memory: 300Mi}}}", "600Mi"),
    ] {
        let text = problem(spec);
        assert!(text.starts_with("broker.java.heap: ") && text.contains(words), "{spec}: {text}");
    }
}
