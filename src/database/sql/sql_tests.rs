use super::*;
use crate::broker::settings::{DatabaseAccess, DatabaseServer, DatabaseTls};

fn sql(kind: DatabaseKind, prefix: &str) -> Sql {
    let server = DatabaseServer {
        kind,
        host: "db".to_owned(),
        port: 1,
        name: "orders".to_owned(),
        tls: DatabaseTls::Off,
    };
    let access = DatabaseAccess {
        username: String::new(),
        password: String::new(),
        properties: String::new(),
        driver_class: String::new(),
        driver_directories: Vec::new(),
        keystore: None,
    };
    Sql::new(&LeaseSettings {
        server,
        access,
        schema: None,
        table_prefix: prefix.to_owned(),
        group: None,
        holds_messages: true,
        poll_millis: 500,
        renew_millis: 500,
        lease_millis: 5_000,
    })
}

#[test]
fn only_ids_as_agents_make_them_become_literals() {
    assert_eq!(Sql::literal("orders-0.1a2b3c4d.00ff").as_deref(), Some("'orders-0.1a2b3c4d.00ff'"));
    for bad in ["", "a'b", "a b", "a\\b", "a;b", "ä", &"a".repeat(64)] {
        assert_eq!(Sql::literal(bad), None, "{bad}");
    }
}

#[test]
fn names_fit_into_what_servers_take_and_differ_between_groups() {
    let prefix = "A".repeat(30);
    for kind in [DatabaseKind::PostgreSQL, DatabaseKind::MySQL] {
        let sql = sql(kind, &prefix);
        assert!(sql.name().len() <= 63, "{}", sql.name());
        for table in [Table::Lock, Table::Sessions, Table::Messages] {
            assert!(sql.table(table).len() <= 63);
        }
    }
    let names = ["", "A_"].map(|prefix| sql(DatabaseKind::MariaDB, prefix).name());
    assert_ne!(names[0], names[1]);
}

#[test]
fn every_statement_of_a_group_bears_its_prefix() {
    for kind in [DatabaseKind::PostgreSQL, DatabaseKind::MariaDB] {
        let sql = sql(kind, "A_");
        let mut all = vec![sql.look(None), sql.repair(), sql.epoch(), sql.raise_epoch(7)];
        all.extend(sql.fence().into_iter().filter(|statement| statement.contains("TANDEM")));
        for statement in all {
            assert!(statement.contains("A_ACTIVEMQ_") || statement.contains("A_TANDEM_"));
            assert!(!statement.contains(" ACTIVEMQ_") && !statement.contains(" TANDEM_"));
        }
    }
}
