//! Many who connect to an agent's port and ask nothing.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::SOON;
use crate::api::FakeApi;
use crate::pod::{Group, KEEP_ALIVE};

/// As many as the agent has descriptors for, three times over; every other one begins a request.
fn crowd(port: u16) -> Vec<TcpStream> {
    let come = |number: u32| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        if number.is_multiple_of(2) {
            stream.write_all(b"GET /v1/report HTTP/1.1\r\nX: ").ok()?;
        }
        Some(stream)
    };
    (0..300).filter_map(come).collect()
}

#[test]
fn a_crowd_at_the_port_of_an_agent_costs_its_broker_nothing() {
    let api = FakeApi::start();
    let group = Group::new("crowd", &api);
    let (first, _second) = group.master_and_standby();
    let before = first.report().child.unwrap();
    first.limit_descriptors(100);
    // Longer than a broker may be silent.
    let end = Instant::now() + Duration::from_millis(12 * KEEP_ALIVE);
    while Instant::now() < end {
        let here = crowd(first.port());
        let asked = Instant::now();
        first.wait_until("a fresh look", |report| report.lock.age_millis < 5 * KEEP_ALIVE);
        while !first.is_live() {
            assert!(asked.elapsed() < SOON, "/livez is not answered");
        }
        drop(here);
    }
    let after = first.report().child.unwrap();
    assert_eq!((after.instance, after.restarts), (before.instance, before.restarts));
}
