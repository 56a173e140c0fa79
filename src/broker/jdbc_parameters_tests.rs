use proptest::prelude::*;

use super::*;

const KINDS: [DatabaseKind; 3] =
    [DatabaseKind::PostgreSQL, DatabaseKind::MySQL, DatabaseKind::MariaDB];

/// Each of these undoes something that is proven, or lets the driver read files or load classes.
const HARMFUL: [(DatabaseKind, &str); 3] = [
    (
        DatabaseKind::PostgreSQL,
        "user password sslmode sslfactory currentSchema options ApplicationName readOnly \
         targetServerType loadBalanceHosts socketFactory authenticationPluginClassName service PGHOST \
         PGDBNAME replication preferQueryMode loggerFile",
    ),
    (
        DatabaseKind::MySQL,
        "useAffectedRows sessionVariables allowLoadLocalInfile allowUrlInLocalInfile autoDeserialize \
         queryInterceptors propertiesTransform authenticationPlugins socketFactory useConfigs \
         allowMultiQueries databaseTerm autoReconnect elideSetAutoCommits",
    ),
    (
        DatabaseKind::MariaDB,
        "transactionIsolation initSql autocommit permitRedirect transactionReplay socketFactory pool \
         allowLocalInfile localSocket credentialType galeraAllowedState database",
    ),
];

#[test]
fn what_undoes_a_proof_is_refused_in_any_spelling() {
    for (kind, names) in HARMFUL {
        for name in names.split_whitespace() {
            for spelling in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
                let text = refusal(kind, &spelling, "true").expect("must be refused");
                assert!(text.contains("remove it") && text.contains(&spelling), "{text}");
            }
        }
    }
}

#[test]
fn a_refusal_names_the_field_to_use_instead() {
    let words = |name| refusal(DatabaseKind::PostgreSQL, name, "x").unwrap();
    assert!(words("currentSchema").contains("field schema"));
    assert!(words("sslMode").contains("tls"));
    assert!(words("options").contains("ALTER ROLE"));
}

#[test]
fn a_name_is_written_as_the_driver_writes_it() {
    let text = refusal(DatabaseKind::MySQL, "sockettimeout", "1").unwrap();
    assert!(text.contains("write it as socketTimeout"), "{text}");
}

#[test]
fn values_are_of_the_parameters_kind() {
    let postgres = |name, value| refusal(DatabaseKind::PostgreSQL, name, value);
    assert_eq!(postgres("prepareThreshold", "-1"), None);
    assert_eq!(postgres("socketTimeout", "90"), None);
    for (name, value, words) in [
        ("socketTimeout", "0", "for ever"),
        ("socketTimeout", "a", "whole number"),
        ("prepareThreshold", "1&options=x", "whole number"),
        ("tcpKeepAlive", "yes", "true or false"),
        ("channelBinding", "a\nb", "printable"),
    ] {
        assert!(postgres(name, value).unwrap().contains(words), "{name}={value}");
    }
    let cipher = |value| refusal(DatabaseKind::MariaDB, "enabledSslCipherSuites", value);
    assert_eq!(cipher("TLS_AES_256_GCM_SHA384"), None);
    for value in ["a&initSql=x", "a b", "${x}", "a?b"] {
        assert!(cipher(value).is_some(), "{value}");
    }
}

proptest! {
    #[test]
    fn a_name_that_is_not_listed_never_passes(name in ".{0,40}", value in ".{0,20}") {
        for kind in KINDS {
            if refusal(kind, &name, &value).is_none() {
                prop_assert!(allowed(kind).iter().any(|(known, _)| *known == name));
            }
        }
    }
}

/// The guide promises this list.
#[test]
fn the_guide_lists_what_is_allowed() {
    let guide = include_str!("../../docs/guides/database.md");
    for (kind, title) in KINDS.into_iter().zip(["PostgreSQL", "MySQL", "MariaDB"]) {
        let names: Vec<String> =
            allowed(kind).iter().map(|(name, _)| format!("`{name}`")).collect();
        let row = format!("| {title} | {} |", names.join(", "));
        assert!(guide.contains(&row), "docs/guides/database.md needs the row: {row}");
    }
}
