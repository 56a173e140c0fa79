use super::*;
use proptest::prelude::*;

/// A broker's pod with an address of each family.
pub(crate) fn author(ordinal: u8) -> Author {
    Author {
        pod: Pod {
            name: format!("orders-{ordinal}"),
            namespace: "shop".to_owned(),
            uid: format!("uid-{ordinal}"),
            ips: vec![format!("10.0.0.{ordinal}").parse().unwrap(), "fd00::1".parse().unwrap()],
            node: "n1".to_owned(),
        },
        cluster: "orders".to_owned(),
        ports: vec![RecordPort { name: "openwire".to_owned(), port: 61616 }],
    }
}

fn claim(tried: Option<u64>, floor: u64) -> Claim {
    let now = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    Claim { floor, tried, takeover_millis: 321, store: None, now }
}

/// The record as the operator applies it.
fn fresh() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "orders",
            "resourceVersion": "7",
            "labels": {"mine": "kept"},
            "ownerReferences": [{"kind": "BrokerCluster"}],
        },
        "addressType": "IPv4",
        "endpoints": null,
        "ports": [{"name": "amqp", "port": 5672, "someday": true}],
        "unknown": {"kept": true},
    })
}

fn written(record: &Value, author: &Author, claim: &Claim) -> (Value, u64) {
    match next(record, author, claim).unwrap() {
        Next::Write { record, epoch } => (record, epoch),
        Next::Ours { epoch } => panic!("nothing written, ours by {epoch}"),
    }
}

fn note<'record>(record: &'record Value, key: &str) -> &'record str {
    annotation(record, key).map_or("", |value| value)
}

#[test]
fn the_first_promotion_names_the_pod_and_leaves_everything_else_as_it_was() {
    let (record, epoch) = written(&fresh(), &author(1), &claim(None, 0));
    assert_eq!(epoch, 1);
    let mut wanted = fresh();
    wanted["metadata"]["annotations"] = json!({
        labels::EPOCH: "1",
        labels::MASTER: "orders-1",
        labels::MASTER_UID: "uid-1",
        labels::SINCE: "2026-01-02T03:04:05.678Z",
        labels::TAKEOVER_MILLIS: "321",
        labels::FAILOVERS: "0",
    });
    wanted["endpoints"] = json!([{
        "addresses": ["10.0.0.1"],
        "nodeName": "n1",
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-1", "uid": "uid-1"},
    }]);
    assert_eq!(record, wanted);
}

#[test]
fn a_failover_counts_and_names_the_master_before() {
    let (first, _) = written(&fresh(), &author(0), &claim(None, 0));
    let (second, epoch) = written(&first, &author(1), &claim(None, 0));
    assert_eq!(epoch, 2);
    assert_eq!(note(&second, labels::PREVIOUS_MASTER), "orders-0");
    assert_eq!(note(&second, labels::FAILOVERS), "1");
}

#[test]
fn a_promotion_carries_requests_and_fences_over_and_a_record_made_anew_has_none() {
    let mut record = fresh();
    let asked = json!({labels::STEP_DOWN: "{\"id\": \"now\"}", labels::FENCED: "[\"orders-2\"]"});
    record["metadata"]["annotations"] = asked.clone();
    let (record, _) = written(&record, &author(1), &claim(None, 0));
    for key in [labels::STEP_DOWN, labels::FENCED] {
        assert_eq!(record["metadata"]["annotations"][key], asked[key], "{key}");
        assert_eq!(annotation(&shell(&author(1)), key), None);
    }
}

/// The claim of a broker on this store.
fn on(store: u8) -> Claim {
    Claim { store: Some(StoreId::of_random(store.into())), ..claim(None, 0) }
}

#[test]
fn the_first_promotion_puts_the_store_on_record_and_later_ones_keep_it() {
    let (first, _) = written(&fresh(), &author(0), &on(1));
    let store = on(1).store.unwrap().to_string();
    assert_eq!(note(&first, labels::STORE), store);
    // Also one of an agent that does not know its store: of an earlier version, for one.
    for claim in [on(1), claim(None, 0)] {
        let (second, _) = written(&first, &author(1), &claim);
        assert_eq!(note(&second, labels::STORE), store);
    }
    let emptied = emptied(&first, &author(0)).unwrap().unwrap();
    assert_eq!(note(&emptied, labels::STORE), store);
    assert_eq!(annotation(&shell(&author(0)), labels::STORE), None);
}

#[test]
fn nobody_is_promoted_on_another_store_unless_a_person_accepted_it() {
    let (mut record, _) = written(&fresh(), &author(0), &on(1));
    let (recorded, found) = (on(1).store.unwrap(), on(2).store.unwrap());
    let refused = Err(RecordError::OtherStore { recorded, found: found.clone() });
    assert_eq!(next(&record, &author(1), &on(2)), refused);
    record["metadata"]["annotations"][labels::ACCEPTED_STORE] = json!(on(3).store);
    assert_eq!(next(&record, &author(1), &on(2)), refused);
    record["metadata"]["annotations"][labels::ACCEPTED_STORE] = json!(found);
    let (record, _) = written(&record, &author(1), &on(2));
    assert_eq!(note(&record, labels::STORE), found.as_str());
}

#[test]
fn the_same_pod_again_is_a_new_epoch_and_no_failover() {
    let (first, _) = written(&fresh(), &author(0), &claim(None, 0));
    let (again, epoch) = written(&first, &author(0), &claim(None, 0));
    assert_eq!(epoch, 2);
    assert_eq!(note(&again, labels::FAILOVERS), "0");
    assert_eq!(note(&again, labels::PREVIOUS_MASTER), "");
}

#[test]
fn a_replaced_pod_of_the_same_name_is_a_new_epoch_for_its_uid() {
    let (first, _) = written(&fresh(), &author(0), &claim(None, 0));
    let mut replaced = author(0);
    replaced.pod.uid = "another".to_owned();
    let (second, epoch) = written(&first, &replaced, &claim(None, 0));
    assert_eq!((epoch, note(&second, labels::MASTER_UID)), (2, "another"));
}

#[test]
fn a_record_that_names_this_broker_process_is_not_written_again() {
    let (record, epoch) = written(&fresh(), &author(0), &claim(None, 0));
    let ours = next(&record, &author(0), &claim(Some(epoch), 9)).unwrap();
    assert_eq!(ours, Next::Ours { epoch });
    assert!(is_ours(&record, &author(0), Some(epoch)));
}

#[test]
fn fields_that_the_api_server_adds_to_the_endpoint_are_no_edit() {
    let (mut record, epoch) = written(&fresh(), &author(0), &claim(None, 0));
    record["endpoints"][0]["zone"] = "b".into();
    assert!(is_ours(&record, &author(0), Some(epoch)));
}

#[test]
fn an_edited_record_is_astray_and_written_again() {
    let edits: [fn(&mut Value); 6] = [
        |record| record["endpoints"] = json!([]),
        |record| record["endpoints"][0]["addresses"] = json!(["10.9.9.9"]),
        |record| record["endpoints"][0]["conditions"]["ready"] = json!(false),
        |record| {
            record["endpoints"].as_array_mut().unwrap().push(json!({"addresses": ["1.1.1.1"]}));
        },
        |record| record["metadata"]["annotations"][labels::EPOCH] = "0".into(),
        |record| record["metadata"]["annotations"] = json!({}),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let (mut record, epoch) = written(&fresh(), &author(0), &claim(None, 0));
        edit(&mut record);
        assert!(!is_ours(&record, &author(0), Some(epoch)), "{number}");
        let (_, higher) = written(&record, &author(0), &claim(Some(epoch), epoch));
        assert_eq!(higher, 2, "{number}");
    }
}

#[test]
fn another_pod_s_record_is_newer_only_with_a_higher_epoch() {
    let (record, _) = written(&fresh(), &author(1), &claim(None, 4));
    assert!(is_newer(&record, &author(0), Some(4)));
    assert!(!is_newer(&record, &author(0), Some(5)) && !is_ours(&record, &author(0), Some(5)));
}

#[test]
fn a_deleted_record_goes_on_above_the_floor() {
    let mut shell = shell(&author(0));
    shell["metadata"]["resourceVersion"] = "1".into();
    let (record, epoch) = written(&shell, &author(0), &claim(None, 41));
    assert_eq!(epoch, 42);
    assert_eq!(record["ports"][0]["port"], 61616);
}

#[test]
fn a_bad_epoch_is_repaired_from_what_else_is_known() {
    for bad in [json!("seven"), json!("-1"), json!("18446744073709551615"), json!(7)] {
        let mut record = fresh();
        record["metadata"]["annotations"] = json!({labels::EPOCH: bad});
        assert_eq!(written(&record, &author(0), &claim(Some(3), 5)).1, 6, "{bad}");
    }
}

#[test]
fn without_a_resource_version_nothing_is_written() {
    for version in [json!(null), json!(""), json!("0"), json!(7)] {
        let mut record = fresh();
        record["metadata"]["resourceVersion"] = version;
        let refused = next(&record, &author(0), &claim(None, 0));
        assert_eq!(refused, Err(RecordError::NoVersion));
        assert_eq!(emptied(&record, &author(0)), Err(RecordError::NoVersion));
    }
}

#[test]
fn malformed_records_are_errors() {
    let mut record = fresh();
    record["metadata"]["annotations"] = json!(["a"]);
    let malformed = next(&record, &author(0), &claim(None, 0));
    assert_eq!(malformed, Err(RecordError::Malformed("annotations")));
    assert_eq!(next(&json!("text"), &author(0), &claim(None, 0)), Err(RecordError::NoVersion));
    let mut record = fresh();
    record["addressType"] = json!(4);
    let malformed = next(&record, &author(0), &claim(None, 0));
    assert_eq!(malformed, Err(RecordError::Malformed("addressType")));
}

#[test]
fn the_address_is_the_pod_s_of_the_record_s_family() {
    let mut record = fresh();
    record["addressType"] = "IPv6".into();
    let (record, _) = written(&record, &author(0), &claim(None, 0));
    assert_eq!(record["endpoints"][0]["addresses"], json!(["fd00::1"]));
    let mut only_v4 = author(0);
    only_v4.pod.ips.truncate(1);
    let refused = next(&record, &only_v4, &claim(None, 0));
    assert_eq!(refused, Err(RecordError::NoAddress("IPv6".to_owned())));
}

#[test]
fn the_second_family_follows() {
    let (record, _) = written(&fresh(), &author(0), &claim(None, 6));
    assert_eq!(follower_name(&record, &author(0)).as_deref(), Some("orders-v6"));
    let mut slice = fresh();
    slice["addressType"] = "IPv6".into();
    let slice = following(&slice, &record, &author(0)).unwrap();
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["fd00::1"]));
    assert_eq!(note(&slice, labels::EPOCH), "7");
    let mut single = author(0);
    single.pod.ips.truncate(1);
    assert_eq!(follower_name(&record, &single), None);
}

#[test]
fn only_the_pod_that_the_record_names_empties_it_and_keeps_its_annotations() {
    let (record, _) = written(&fresh(), &author(0), &claim(None, 0));
    assert_eq!(emptied(&record, &author(1)).unwrap(), None);
    let empty = emptied(&record, &author(0)).unwrap().unwrap();
    assert_eq!(empty["endpoints"], json!([]));
    assert_eq!(note(&empty, labels::EPOCH), "1");
    assert_eq!(emptied(&empty, &author(0)).unwrap(), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let key = prop_oneof![
            Just("metadata".to_owned()),
            Just("annotations".to_owned()),
            Just("resourceVersion".to_owned()),
            Just("endpoints".to_owned()),
            Just("addressType".to_owned()),
            Just(labels::EPOCH.to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// S2: the epoch never falls, and one epoch names one pod uid, whatever happens to the record
    /// between promotions as long as the floor is kept.
    #[test]
    fn epochs_only_rise_and_each_names_one_pod(
        steps in prop::collection::vec((0..3_u8, 0..4_u8), 1..30),
    ) {
        let (mut record, mut highest) = (fresh(), 0);
        let mut named = std::collections::BTreeMap::new();
        for (ordinal, fault) in steps {
            match fault {
                1 => record = fresh(),
                2 => record["metadata"]["annotations"] = json!({labels::EPOCH: "broken"}),
                _ => {}
            }
            let (next, epoch) = written(&record, &author(ordinal), &claim(None, highest));
            prop_assert!(epoch > highest);
            prop_assert_eq!(named.insert(epoch, ordinal), None);
            prop_assert!(names(&next, &author(ordinal)));
            (record, highest) = (next, epoch);
        }
    }

    #[test]
    fn no_record_makes_it_panic(record in any_json()) {
        let author = author(0);
        drop(next(&record, &author, &claim(Some(1), 1)));
        drop(emptied(&record, &author));
        drop(following(&record, &record, &author));
        let _answer = (is_ours(&record, &author, None), is_newer(&record, &author, None));
        follower_name(&record, &author);
    }
}
