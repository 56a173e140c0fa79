use super::*;

fn database(kind: DatabaseKind, tls: DatabaseTls) -> Database {
    Database {
        server: Server::Known(DatabaseServer {
            kind,
            host: "db.shop.svc".into(),
            port: 1234,
            name: "mq".into(),
            tls,
        }),
        schema: None,
        parameters: std::collections::BTreeMap::new(),
        table_prefix: String::new(),
        driver_class: driver_class(kind).into(),
        driver_directory: None,
        lease_millis: 5000,
        renew_millis: 500,
        poll_millis: 500,
    }
}

fn verified() -> DatabaseTls {
    DatabaseTls::Verified { ca: "/ca.crt".into() }
}

#[test]
fn every_kind_has_its_own_words_for_tls_and_times() {
    for (kind, tls, messages, lease) in [
        (
            DatabaseKind::PostgreSQL,
            verified(),
            "jdbc:postgresql://db.shop.svc:1234/mq?sslmode=verify-full&sslrootcert=/ca.crt&connectTimeout=5&socketTimeout=30&tcpKeepAlive=true",
            "connectTimeout=2&socketTimeout=2&",
        ),
        (
            DatabaseKind::PostgreSQL,
            DatabaseTls::Off,
            "jdbc:postgresql://db.shop.svc:1234/mq?sslmode=disable&connectTimeout=5&socketTimeout=30&tcpKeepAlive=true",
            "connectTimeout=2&socketTimeout=2&",
        ),
        (
            DatabaseKind::MySQL,
            verified(),
            "jdbc:mysql://db.shop.svc:1234/mq?sslMode=VERIFY_IDENTITY&trustCertificateKeyStoreUrl=file:/run/ca.p12&trustCertificateKeyStoreType=PKCS12&trustCertificateKeyStorePassword=changeit&connectTimeout=5000&socketTimeout=30000&tcpKeepAlive=true",
            "connectTimeout=2500&socketTimeout=2500&",
        ),
        (
            DatabaseKind::MariaDB,
            DatabaseTls::Encrypted,
            "jdbc:mariadb://db.shop.svc:1234/mq?sslMode=trust&connectTimeout=5000&socketTimeout=30000&tcpKeepAlive=true&permitRedirect=false",
            "connectTimeout=2500&socketTimeout=2500&",
        ),
    ] {
        let database = database(kind, tls);
        assert_eq!(url(&database, Purpose::Messages, "/run/ca.p12"), messages);
        assert!(url(&database, Purpose::Lease, "/run/ca.p12").contains(lease), "{kind:?}");
    }
}

#[test]
fn parameters_are_escaped_and_times_of_the_users_leave_the_lease_alone() {
    let mut database = database(DatabaseKind::PostgreSQL, DatabaseTls::Off);
    database.parameters = [("channelBinding", "-c a=b&${x}#{y}"), ("socketTimeout", "90")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let messages = url(&database, Purpose::Messages, "");
    assert!(messages.contains("channelBinding=-c%20a%3Db%26%24%7Bx%7D%23%7By%7D"), "{messages}");
    assert!(messages.contains("socketTimeout=90") && !messages.contains("socketTimeout=30"));
    assert!(url(&database, Purpose::Lease, "").contains("socketTimeout=2&"));
}

#[test]
fn an_address_of_ipv6_stands_in_brackets() {
    let mut database = database(DatabaseKind::PostgreSQL, DatabaseTls::Off);
    if let Server::Known(server) = &mut database.server {
        server.host = "fd00::1".into();
    }
    assert!(url(&database, Purpose::Lease, "").starts_with("jdbc:postgresql://[fd00::1]:1234/mq?"));
}

#[test]
fn a_schema_is_in_every_url() {
    let mut database = database(DatabaseKind::PostgreSQL, DatabaseTls::Off);
    database.schema = Some("mq".into());
    for purpose in [Purpose::Messages, Purpose::Lease] {
        assert!(url(&database, purpose, "").ends_with("&currentSchema=mq"));
    }
}
