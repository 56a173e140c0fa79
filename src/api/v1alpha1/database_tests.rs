//! Every admission rule about databases.

use crate::api::v1alpha1::BrokerCluster;

fn cluster(storage: &str) -> BrokerCluster {
    let spec = format!("storage: {storage}");
    BrokerCluster::new("orders", serde_saphyr::from_str(&spec).unwrap())
}

fn refusal(storage: &str) -> String {
    let errors = cluster(storage).validate_cel().expect_err("must be refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn refusal_of_change(before: &str, after: &str) -> String {
    let errors = cluster(after).validate_cel_update(&cluster(before)).expect_err("must be refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const SECRET: &str = "credentialsSecret: {name: a}";

fn known(more: &str) -> String {
    format!("type: PostgreSQL, host: db, name: mq, {SECRET}, {more}")
}

fn other(more: &str) -> String {
    format!("type: Other, url: 'jdbc:x:y', driver: {{class: X}}, {SECRET}, {more}")
}

/// The same fields as the store and as the lock.
fn both(fields: &str) -> [String; 2] {
    [
        format!("{{database: {{{fields}}}}}"),
        format!("{{sharedVolume: {{claimName: a, lock: {{database: {{{fields}}}}}}}}}"),
    ]
}

#[test]
fn the_smallest_databases_are_accepted() {
    for fields in [
        known(""),
        known("lease: {duration: 3s, renew: 1s, poll: 100ms}"),
        known("tls: {caSecret: {name: ca}}, driver: {path: /drivers}"),
        known("tls: {mode: Require}, tablePrefix: shop_, parameters: {a: b}"),
        known("schema: mq"),
        other("lease: {duration: 10s}"),
    ] {
        for storage in both(&fields) {
            cluster(&storage).validate_cel().unwrap_or_else(|error| panic!("{storage}: {error:?}"));
        }
    }
    cluster(&both(&other("adapter: org.example.Adapter"))[0]).validate_cel().unwrap();
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (fields, words) in [
        (format!("type: PostgreSQL, url: 'jdbc:x:y', {SECRET}"), "the other types take no url"),
        (format!("type: PostgreSQL, host: db, {SECRET}"), "database.host and database.name"),
        (format!("type: Other, driver: {{class: X}}, {SECRET}"), "needed by type Other"),
        (other("port: 1"), "takes no host, port or name"),
        (format!("type: Other, url: 'jdbc:x:y', {SECRET}"), "database.driver.class"),
        (other("tls: {mode: Require}"), "write them into database.url"),
        (other("parameters: {a: b}"), "write them into database.url"),
        (other("lease: {poll: 1s}"), "database.lease.poll is not for type Other"),
        (known("schema: mq").replace("PostgreSQL", "MySQL"), "a schema is a database"),
        (other("schema: mq"), "write it into database.url"),
        (known("tls: {mode: VerifyFull}"), "mode VerifyFull needs"),
        (known("tls: {mode: Require, caSecret: {name: a}}"), "mode VerifyFull needs"),
        (known("tls: {caSecret: {name: a}, caConfigMap: {name: a}}"), "one of caSecret"),
        (known("driver: {imagePullPolicy: Always}"), "driver.imagePullPolicy"),
        (known("lease: {duration: 1s, renew: 100ms}"), "from 2s to 1m"),
        (known("lease: {duration: 2m}"), "from 2s to 1m"),
        (known("lease: {renew: 50ms}"), "at least 100ms"),
        (known("lease: {duration: 2s, renew: 700ms}"), "at least three times"),
        (known("lease: {poll: 50ms}"), "from 100ms to 10s"),
        (known("lease: {duration: 3s, poll: 4s}"), "must not be longer"),
    ] {
        for storage in both(&fields) {
            let text = refusal(&storage);
            assert!(text.contains(words), "{storage}: {text}");
        }
    }
    assert!(refusal(&both(&known("adapter: X"))[0]).contains("only for type Other"));
}

#[test]
fn exactly_one_store_and_at_most_one_lock() {
    assert!(refusal("{}").contains("exactly one of sharedVolume"));
    let two = format!("{{sharedVolume: {{claimName: a}}, database: {{{}}}}}", known(""));
    assert!(refusal(&two).contains("exactly one of sharedVolume"));
    let locks = format!(
        "{{sharedVolume: {{claimName: a, lock: {{file: {{}}, database: {{{}}}}}}}}}",
        known("")
    );
    assert!(refusal(&locks).contains("one of file and database"));
}

#[test]
fn another_place_would_be_another_store() {
    let file = "{sharedVolume: {claimName: a}}";
    let [database, lock] = both(&known(""));
    assert!(refusal_of_change(file, &database).contains("from a volume to a database"));
    assert!(refusal_of_change(&database, file).contains("from a volume to a database"));
    assert!(refusal_of_change(file, &lock).contains("from a file to a database"));
    assert!(refusal_of_change(&lock, file).contains("from a file to a database"));
    for after in [
        known("").replace("PostgreSQL", "MySQL"),
        known("").replace("host: db", "host: db2"),
        known("").replace("name: mq", "name: mq2"),
        known("port: 5433"),
        other(""),
    ] {
        for (before, after) in both(&known("")).iter().zip(both(&after)) {
            let text = refusal_of_change(before, &after);
            assert!(text.contains("two masters"), "{after}: {text}");
        }
    }
    let prefixed = both(&known("tablePrefix: a_"));
    assert!(refusal_of_change(&database, &prefixed[0]).contains("database.tablePrefix"));
    assert!(refusal_of_change(&prefixed[1], &lock).contains("database.tablePrefix"));
    for (before, after) in both(&known("schema: a")).iter().zip(both(&known("schema: b"))) {
        assert!(refusal_of_change(before, &after).contains("schema cannot be changed"));
    }
    assert!(refusal_of_change(&database, &both(&known("schema: a"))[0]).contains("two masters"));
}

#[test]
fn timing_credentials_and_drivers_may_change() {
    let after = known("lease: {duration: 10s}, driver: {image: a}, maxConnections: 50")
        .replace("name: a", "name: b");
    let [before, _] = both(&known(""));
    cluster(&both(&after)[0]).validate_cel_update(&cluster(&before)).unwrap();
}
