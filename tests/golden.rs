//! Every byte of every manifest of several clusters.

use tandem::{api::v1alpha1::BrokerCluster, core::validate::validate, resources};

#[test]
fn manifests_are_as_reviewed() {
    let settings = resources::Settings {
        agent_image: "registry.example/tandem:1.2.3".into(),
        operator_namespace: "tandem-system".into(),
        operator_labels: [
            ("app.kubernetes.io/instance".into(), "tandem".into()),
            ("app.kubernetes.io/name".into(), "tandem".into()),
        ]
        .into(),
        privileged_pods: false,
    };
    insta::glob!("golden/*.yaml", |path| {
        let cluster: BrokerCluster =
            serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let valid = validate(&cluster).unwrap();
        let mut manifests = resources::build(&valid, &settings);
        let ports = resources::config_map::ports(&valid);
        manifests.push(resources::endpoint_slice::build(
            &valid,
            resources::endpoint_slice::Family::V4,
            &ports,
        ));
        manifests.push(resources::stateful_set::build(
            &valid,
            &settings,
            None,
            valid.spec.replicas,
        ));
        let text: Vec<String> = manifests
            .iter()
            .map(|manifest| serde_saphyr::to_string(&manifest.object).unwrap())
            .collect();
        insta::assert_snapshot!(text.join("---\n"));
    });
}
