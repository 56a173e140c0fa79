use super::*;

fn storage(text: &str) -> Storage {
    serde_saphyr::from_str(text).unwrap()
}

fn problem(text: &str) -> String {
    let problems = store(&storage(text), "made".into()).expect_err("must be refused");
    assert_eq!(problems.len(), 1, "{problems:?}");
    format!("{}: {}", problems[0].0, problems[0].1)
}

fn of(more: &str) -> String {
    format!(
        "database: {{type: PostgreSQL, host: db, name: mq, credentialsSecret: {{name: a}}, {more}}}"
    )
}

fn read(text: &str) -> Database {
    store(&storage(text), "made".into()).unwrap().database().unwrap().clone()
}

#[test]
fn defaults_are_filled_in_by_type() {
    let database = read(&of(""));
    assert_eq!(database.known().unwrap().port, 5432);
    assert_eq!(database.driver_class, "org.postgresql.Driver");
    assert_eq!(
        (database.lease_millis, database.renew_millis, database.poll_millis),
        (5000, 500, 500)
    );
    assert_eq!(database.known().unwrap().tls, DatabaseTls::Off);
    assert_eq!(database.lock_place(), "postgresql://db:5432/mq table ACTIVEMQ_LOCK");
    assert_eq!(read(&of("").replace("PostgreSQL", "MariaDB")).known().unwrap().port, 3306);
}

#[test]
fn an_authority_means_verification() {
    let tls = |tls: &str| read(&of(&format!("tls: {tls}"))).known().unwrap().tls.clone();
    assert!(matches!(tls("{caSecret: {name: a}}"), DatabaseTls::Verified { .. }));
    assert_eq!(tls("{mode: Require}"), DatabaseTls::Encrypted);
    assert_eq!(tls("{}"), DatabaseTls::Off);
    let mysql = of("tls: {caConfigMap: {name: a}}").replace("PostgreSQL", "MySQL");
    assert!(read(&mysql).wants_keystore());
}

#[test]
fn drivers_are_where_the_image_or_the_path_puts_them() {
    let directory = |driver: &str| read(&of(&format!("driver: {driver}"))).driver_directory;
    assert_eq!(directory("{image: a, path: /x}").unwrap(), paths::DRIVERS);
    assert_eq!(directory("{path: /x}").unwrap(), "/x");
    assert_eq!(directory("{}"), None);
}

#[test]
fn each_problem_names_the_field_and_the_remedy() {
    for url in
        ["jdbc:oracle:thin:@//db:1521/mq", "jdbc:oracle:thin:@db:1521:mq", "jdbc:db2://db:50000/mq"]
    {
        assert_eq!(url_problem(url), None, "{url}");
    }
    for (spec, words) in [
        (of("parameters: {sslmode: disable}"), "database.parameters: \"sslmode\" is refused (encryption comes from tls"),
        (of("parameters: {'a b': c}"), "database.parameters: \"a b\" is refused"),
        (of("driver: {path: /tmp/../run}").replace("/tmp/../run", "/run/tandem"), "database.driver.path"),
        (
            "database: {type: Other, url: 'jdbc:x:y?password=z', driver: {class: X}, credentialsSecret: {name: a}}".into(),
            "database.url: the URL holds credentials",
        ),
        (
            "database: {type: Other, url: 'jdbc:oracle:thin:scott/tiger@//db:1521/mq', driver: {class: X}, credentialsSecret: {name: a}}".into(),
            "database.url: the URL holds credentials",
        ),
        (
            "database: {type: Other, url: 'jdbc:x://scott@db/mq', driver: {class: X}, credentialsSecret: {name: a}}".into(),
            "database.url: the URL holds credentials",
        ),
        (
            "database: {type: Other, url: 'jdbc:x:${y}', driver: {class: X}, credentialsSecret: {name: a}}".into(),
            "would be replaced",
        ),
        (
            "sharedVolume: {claimName: a, lock: {database: {type: MariaDB, host: a, name: b, parameters: {initSql: 'b&c'}, credentialsSecret: {name: a}}}}".into(),
            "sharedVolume.lock.database.parameters",
        ),
    ] {
        let text = problem(&spec);
        assert!(text.contains(words), "{spec}: {text}");
    }
}

#[test]
fn a_lock_in_a_database_leaves_the_messages_on_the_volume() {
    let text = "sharedVolume: {claimName: a, lock: {database: {type: Other, url: 'jdbc:sqlserver://x:1;databaseName=y', driver: {class: X}, credentialsSecret: {name: a}}}}";
    let store = store(&storage(text), "made".into()).unwrap();
    assert_eq!(store.claim(), Some("a"));
    let database = store.database().unwrap();
    assert_eq!(database.known(), None);
    assert_eq!(database.lock_place(), "jdbc:sqlserver://x:1 table ACTIVEMQ_LOCK");
}
