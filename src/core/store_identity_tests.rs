use proptest::prelude::*;
use serde_json::json;

use super::*;

fn id(n: u8) -> StoreId {
    StoreId::of_random(u128::from(n))
}

fn found(n: u8, used: bool) -> FoundStore {
    FoundStore { identity: Some(id(n)), used }
}

fn known(store: Option<u8>, accepted: Option<u8>, served: bool) -> Recorded {
    Recorded::Known { store: store.map(id), accepted: accepted.map(id), served }
}

fn recorded() -> impl Strategy<Value = Recorded> {
    let one = || prop::option::of(0..3_u8);
    prop_oneof![
        Just(Recorded::Unknown),
        (one(), one(), any::<bool>()).prop_map(|(store, accepted, served)| known(
            store,
            accepted,
            served || store.is_some()
        )),
    ]
}

fn any_found() -> impl Strategy<Value = FoundStore> {
    let identity = prop::option::of((0..3_u8).prop_map(id));
    (identity, any::<bool>()).prop_map(|(identity, used)| FoundStore { identity, used })
}

fn opens(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::Go | Judgement::Adopt)
}

proptest! {
    /// S11: a group that has served starts on no other store, and on no empty one, unless it was accepted.
    #[test]
    fn a_group_that_has_served_starts_on_its_own_store_only(
        recorded in recorded(), found in any_found(), opened in prop::option::of((0..3_u8).prop_map(id)),
    ) {
        let judgement = judge(&recorded, &found, opened.as_ref());
        if let Recorded::Known { store, accepted, served: true } = &recorded
            && opens(&judgement)
        {
            let own = store.is_none() || *store == found.identity;
            prop_assert!(*accepted == found.identity || own && found.used);
        }
    }

    /// What cannot be told leads to waiting: neither to a start nor to a refusal, which names a remedy.
    #[test]
    fn unknown_waits_unless_this_pod_was_there_before(
        recorded in recorded(), found in any_found(), opened in prop::option::of((0..3_u8).prop_map(id)),
    ) {
        let judgement = judge(&recorded, &found, opened.as_ref());
        if found.identity.is_none() {
            prop_assert_eq!(judgement, Judgement::Wait(Unclear::Store));
        } else if recorded == Recorded::Unknown {
            prop_assert_eq!(opens(&judgement), opened == found.identity);
        } else {
            prop_assert!(!matches!(judgement, Judgement::Wait(_)));
        }
    }

    /// What this pod remembers never outweighs the record.
    #[test]
    fn a_record_that_was_read_decides_alone(
        recorded in recorded(), found in any_found(), opened in prop::option::of((0..3_u8).prop_map(id)),
    ) {
        if recorded != Recorded::Unknown {
            prop_assert_eq!(judge(&recorded, &found, opened.as_ref()), judge(&recorded, &found, None));
        }
    }

    /// A refusal names the store whose acceptance opens it, and that of no other store does.
    #[test]
    fn the_acceptance_that_a_refusal_names_opens_it(
        store in prop::option::of(0..3_u8), accepted in prop::option::of(0..3_u8), found in any_found(),
    ) {
        let judgement = judge(&known(store, accepted, true), &found, None);
        if let Judgement::Refuse(refusal) = judgement {
            prop_assert!(accepted.map(id).as_ref() != Some(&refusal.found));
            let accepted = Some(refusal.found.clone());
            let recorded = Recorded::Known { store: store.map(id), accepted, served: true };
            prop_assert!(opens(&judge(&recorded, &found, None)));
            prop_assert!(refusal.problem("orders").message.contains(refusal.found.as_str()));
        }
    }
}

#[test]
fn first_uses_and_upgrades_adopt_what_they_find() {
    assert_eq!(judge(&known(None, None, false), &found(1, false), None), Judgement::Adopt);
    // A new group on a store that was there before.
    assert_eq!(judge(&known(None, None, false), &found(1, true), None), Judgement::Adopt);
    // Promoted by a version that knew no identities.
    assert_eq!(judge(&known(None, None, true), &found(1, true), None), Judgement::Adopt);
    // The same, with its claim made anew.
    let Judgement::Refuse(refusal) = judge(&known(None, None, true), &found(1, false), None) else {
        panic!("an empty store is adopted");
    };
    assert_eq!(refusal.problem("orders").kind, StoreProblemKind::StoreMissing);
}

#[test]
fn a_refusal_says_what_is_missing_what_is_found_and_what_to_do() {
    for (used, kind, words) in [
        (false, StoreProblemKind::StoreMissing, "is empty"),
        (true, StoreProblemKind::StoreReplaced, "holds a broker's files"),
    ] {
        let judgement = judge(&known(Some(1), Some(3), true), &found(2, used), None);
        let Judgement::Refuse(refusal) = judgement else { panic!("{judgement:?}") };
        let problem = refusal.problem("orders");
        assert_eq!(problem.kind, kind);
        let accept = format!("brokercluster orders tandem-operator.io/accept-store={}", id(2));
        for part in [id(1).as_str(), id(2).as_str(), words, &accept] {
            assert!(problem.message.contains(part), "{}", problem.message);
        }
    }
}

#[test]
fn a_record_is_read_as_what_promotions_wrote() {
    let record = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    assert_eq!(Recorded::read(None), known(None, None, false));
    assert_eq!(Recorded::read(Some(&json!({}))), known(None, None, false));
    let read = |annotations: Value| Recorded::read(Some(&record(annotations)));
    assert_eq!(
        read(json!({labels::STORE: id(1).as_str(), labels::ACCEPTED_STORE: id(2).as_str()})),
        known(Some(1), Some(2), true)
    );
    assert_eq!(read(json!({labels::STORE: ""})), known(None, None, false));
    // A typing error in the record is no reason to take the group for a new one.
    assert_eq!(read(json!({labels::STORE: "{}"})), known(None, None, true));
    assert_eq!(read(json!({labels::EPOCH: "many"})), known(None, None, true));
}
