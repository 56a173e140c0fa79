//! MariaDB, from the distribution's packages.

use std::process::Command;

use anyhow::Result;

use crate::layout::ServerLayout;
use crate::shell;

/// Rows and nothing but rows.
pub(super) const TERSE: [&str; 2] = ["--batch", "--skip-column-names"];

pub(super) fn make(server: &ServerLayout) -> Result<()> {
    let mut install = shell::command("mariadb-install-db", &["--no-defaults"]);
    install.arg(format!("--datadir={}", server.data().display())).args([
        // Its own account comes with the package that also makes a service and data.
        "--user=root",
        "--auth-root-authentication-method=normal",
        "--skip-name-resolve",
        "--skip-test-db",
        "--innodb-use-native-aio=0",
    ]);
    shell::run(&mut install)
}

pub(super) fn server(server: &ServerLayout) -> Command {
    let directory = server.directory();
    let mut mariadbd = shell::command("mariadbd", &["--no-defaults", "--user=root"]);
    mariadbd
        .arg(format!("--datadir={}", server.data().display()))
        .arg(format!("--socket={}", directory.join("socket").display()))
        .arg(format!("--pid-file={}", directory.join("pid").display()))
        .arg(format!("--ssl-cert={}", directory.join("server.crt").display()))
        .arg(format!("--ssl-key={}", directory.join("server.key").display()))
        .args([
            "--bind-address=0.0.0.0",
            "--port=3306",
            "--skip-name-resolve",
            "--max-connections=400",
            // Queues of kernel requests are few, and shared with the rest of the machine.
            "--innodb-use-native-aio=0",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
        ]);
    mariadbd
}

pub(super) fn client(server: &ServerLayout, database: &str) -> Command {
    let mut client = shell::command("mariadb", &["--no-defaults", "--user=root"]);
    client.arg(format!("--socket={}", server.directory().join("socket").display()));
    client.arg(format!("--database={database}"));
    client
}

pub(super) fn create(database: &str, password: &str) -> Vec<String> {
    let password = password.replace('\\', "\\\\").replace('\'', "''");
    vec![
        format!("DROP DATABASE IF EXISTS {database}"),
        format!("DROP USER IF EXISTS {database}"),
        format!("CREATE DATABASE {database}"),
        format!("CREATE USER {database} IDENTIFIED BY '{password}'"),
        format!("GRANT ALL ON {database}.* TO {database}"),
    ]
}
