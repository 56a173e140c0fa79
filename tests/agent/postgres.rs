//! Questions to a PostgreSQL server.

use std::net::Ipv4Addr;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::{ADMIN, PASSWORD};

/// The holder, and its lease's end, as the server on this port has them.
pub fn lease_on(port: u16) -> (String, i64) {
    let row = query(port, "SELECT COALESCE(BROKER_NAME,''), COALESCE(TIME,0) FROM ACTIVEMQ_LOCK");
    (row[0].clone(), row[1].parse().unwrap())
}

pub async fn connect(port: u16, name: &str, login: (&str, &str)) -> Option<Client> {
    let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let mut config = tokio_postgres::Config::new();
    config.user(login.0).password(login.1).dbname("postgres").application_name(name);
    let (client, connection) = config.connect_raw(stream, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The fields of the first row.
pub fn query(port: u16, statement: &str) -> Vec<String> {
    runtime().block_on(async {
        let client = connect(port, "test", (ADMIN, PASSWORD)).await.expect("the server answers");
        let rows = client.simple_query(statement).await.unwrap();
        let row = rows.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some((0..row.len()).map(|field| row.get(field).unwrap_or("").to_owned()).collect())
        });
        row.unwrap_or_default()
    })
}
