//! Sizes never shrink, and no claim goes that should stay.

use proptest::prelude::*;

use super::*;

fn claim(requested: &str, capacity: Option<&str>) -> Value {
    json!({
        "metadata": {"uid": "claim-uid", "labels": {
            (labels::INSTANCE): "orders", (labels::MANAGED_BY): labels::MANAGER,
        }},
        "spec": {"resources": {"requests": {"storage": requested}}},
        "status": {"phase": "Bound", "capacity": {"storage": capacity}},
    })
}

fn spec(volume: &str) -> BrokerClusterSpec {
    serde_saphyr::from_str(&format!("storage: {{sharedVolume: {volume}}}")).unwrap()
}

const CLAIM: &str = "claim: {resources: {requests: {storage: 1Gi}}}";

#[test]
fn the_size_is_judged_by_what_the_spec_the_claim_and_the_volume_say() {
    let has = |text: &str| text.to_owned();
    for (asked, requested, capacity, expected) in [
        ("1Gi", "1Gi", "1Gi", Sizing::Reached { has: has("1Gi") }),
        ("1024Mi", "1Gi", "20Gi", Sizing::Reached { has: has("20Gi") }),
        ("5Gi", "1Gi", "20Gi", Sizing::Reached { has: has("20Gi") }),
        ("2Gi", "1Gi", "1Gi", Sizing::Grow { has: has("1Gi") }),
        ("3Gi", "2Gi", "1Gi", Sizing::Grow { has: has("1Gi") }),
        ("2Gi", "2Gi", "1Gi", Sizing::Growing { to: has("2Gi"), has: has("1Gi"), notes: vec![] }),
        ("1Gi", "2Gi", "1Gi", Sizing::Growing { to: has("2Gi"), has: has("1Gi"), notes: vec![] }),
        ("1Gi", "2Gi", "2Gi", Sizing::Larger { requested: has("2Gi"), has: has("2Gi") }),
        ("2Gi", "a lot", "1Gi", Sizing::Unknown),
    ] {
        let live = claim(requested, Some(capacity));
        assert_eq!(sizing(asked, Some(&live)), expected, "{asked} {requested} {capacity}");
    }
    let mut pending = claim("1Gi", Some("1Gi"));
    pending["status"]["phase"] = json!("Pending");
    for live in [None, Some(claim("1Gi", None)), Some(pending)] {
        assert_eq!(sizing("2Gi", live.as_ref()), Sizing::Unknown);
    }
}

/// The claim as it would be applied, and as it would be asked to grow.
fn applied(asked: &str, live: &Value) -> (String, Option<String>) {
    let size =
        |manifest: &Manifest| manifest.object.pointer(SIZE).unwrap().as_str().unwrap().to_owned();
    let mut wanted = [Manifest {
        kind: Kind::PersistentVolumeClaim,
        name: "orders-store".into(),
        object: json!({"spec": {"resources": {"requests": {"storage": asked}}}}),
    }];
    let mut observed = Observed::default();
    observed.children.insert((Kind::PersistentVolumeClaim, "orders-store".into()), live.clone());
    let grown = hold_size(&mut wanted, &observed, Some(&sizing(asked, Some(live))));
    (size(&wanted[0]), grown.as_ref().map(size))
}

proptest! {
    #[test]
    fn a_claim_is_never_asked_for_less_than_it_asks_for_and_grows_by_one_write_only(
        asked in 1..50u32, requested in 1..50u32, capacity in proptest::option::of(1..50u32),
    ) {
        let text = |size: u32| format!("{size}Gi");
        let live = claim(&text(requested), capacity.map(text).as_deref());
        let (applied, grown) = applied(&text(asked), &live);
        prop_assert_eq!(amount(&applied), amount(&text(requested)));
        if let Some(grown) = grown {
            prop_assert_eq!(grown, text(asked));
            prop_assert!(asked > requested && capacity.is_some_and(|capacity| asked > capacity));
        }
    }

    #[test]
    fn a_claim_is_deleted_only_if_the_spec_says_so_and_it_is_ours_alone(
        delete in any::<bool>(), named in any::<bool>(), ours in any::<bool>(),
        used in any::<bool>(), ending in any::<bool>(), exists in any::<bool>(),
    ) {
        let retention = if delete { "Delete" } else { "Retain" };
        let volume = if named { "claimName: a" } else { CLAIM };
        let spec = spec(&format!("{{{volume}, retention: {retention}}}"));
        let mut live = claim("1Gi", Some("1Gi"));
        if !ours {
            live["metadata"]["labels"][labels::INSTANCE] = json!("billing");
        }
        if ending {
            live["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let users = if used { vec!["BrokerCluster billing".to_owned()] } else { Vec::new() };
        let removal = removal("orders", &spec, exists.then_some(&live), &users);
        let goes = delete && !named && ours && !used && !ending && exists;
        prop_assert_eq!(removal == Removal::Delete { uid: "claim-uid".into() }, goes);
        let told = delete && !named && exists && (!ours || used);
        prop_assert_eq!(matches!(removal, Removal::Kept(_)), told);
    }
}
