//! Each fault does what it says, to a node and to its pods, and can be undone.
//!
//! Needs what a bed needs (root, Linux) and fails without it.

mod program;
mod storage;

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use testbed::layout::{APISERVER, DNS};
use testbed::{
    Bed, Component, DatabaseKind, From, Options, PodProcess, STORAGE_PORT, State, Storage, images,
    shell, wait,
};

const NAME: &str = "faults";
const API_SERVICE: (&str, u16) = ("10.96.0.1", 443);

#[test]
fn faults_do_what_they_say() {
    Bed::remove(NAME).unwrap();
    let bed = Bed::up(&Options {
        name: NAME.to_owned(),
        nodes: Some(2),
        program: Some(env!("CARGO_BIN_EXE_testbed").into()),
        ..Options::default()
    })
    .unwrap();
    let storage = storage::shared(&bed);
    let volume = storage.directory("pods").unwrap();
    for node in [1, 2] {
        run_pod(&bed, node, volume.to_str().unwrap());
    }

    entering(&bed);
    the_bridge_keeps_its_address(&bed);
    shared_volume(&bed);
    let at = storage.address();
    cut_from_storage(&bed, &at);
    cut_from_api(&bed, &at);
    cut_from_everything(&bed, &at);
    storage::shown(&bed, &storage);
    databases(&bed, DatabaseKind::Postgresql);
    databases(&bed, DatabaseKind::Mariadb);
    power_loss(&bed, &storage);
    control_plane_faults(&bed);
    bed.down().unwrap();
}

/// The ways into the bed's namespaces.
fn entering(bed: &Bed) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            bed.enter_network().unwrap();
            for server in [(APISERVER, 6443), API_SERVICE] {
                // Outside, a gateway may accept any connection: only the own address tells.
                let own = TcpStream::connect(server).unwrap().local_addr().unwrap().ip();
                assert_eq!(own.to_string(), APISERVER);
            }
        });
    });
    let mut first = bed.node(1).unwrap().command("cat").unwrap();
    assert_eq!(shell::output(first.arg("/proc/1/comm")).unwrap(), "testbed\n");
}

/// A cable with the lowest of all addresses does not change what nodes know of the control plane.
fn the_bridge_keeps_its_address(bed: &Bed) {
    let namespace = bed.layout().network();
    let ip = |arguments: &[&str]| {
        shell::output(Command::new("ip").args(["-n", &namespace]).args(arguments)).unwrap()
    };
    let address =
        || ip(&["-brief", "link", "show", "br0"]).split_whitespace().nth(2).map(str::to_owned);
    let before = address();
    let cable = ["type", "veth", "peer", "name", "lower"];
    ip(&[&["link", "add", "low", "address", "02:00:00:00:00:01"], &cable[..]].concat());
    ip(&["link", "set", "low", "master", "br0", "up"]);
    assert_eq!(address(), before);
    ip(&["link", "delete", "low"]);
    assert_eq!(address(), before);
    assert!(before.is_some());
}

/// What a pod writes to the volume, the other sees at once.
fn shared_volume(bed: &Bed) {
    exec(bed, 1, "echo one > /store/file").unwrap();
    assert_eq!(exec(bed, 2, "cat /store/file").unwrap(), "one\n");
}

fn cut_from_storage(bed: &Bed, storage: &str) {
    let node = bed.node(1).unwrap();
    assert!(reaches(bed, 1, (storage, STORAGE_PORT)));
    node.cut(From::Storage).unwrap();
    assert_eq!(node.cuts().unwrap(), [From::Storage]);
    assert!(!reaches(bed, 1, (storage, STORAGE_PORT)));
    assert!(reaches(bed, 1, API_SERVICE));
    assert!(reaches(bed, 2, (storage, STORAGE_PORT)));
    node.heal().unwrap();
    assert!(reaches(bed, 1, (storage, STORAGE_PORT)));
}

fn cut_from_api(bed: &Bed, storage: &str) {
    let node = bed.node(1).unwrap();
    assert!(reaches(bed, 1, API_SERVICE));
    node.cut(From::Api).unwrap();
    assert!(!reaches(bed, 1, API_SERVICE));
    assert!(!reaches(bed, 1, (APISERVER, 6443)));
    assert!(reaches(bed, 1, (DNS, 53)));
    assert!(reaches(bed, 1, (storage, STORAGE_PORT)));
    assert!(reaches(bed, 2, API_SERVICE));
    node.heal().unwrap();
    assert!(reaches(bed, 1, API_SERVICE));
}

fn cut_from_everything(bed: &Bed, storage: &str) {
    let node = bed.node(2).unwrap();
    node.cut(From::All).unwrap();
    assert!(!reaches(bed, 2, (storage, STORAGE_PORT)));
    assert!(!reaches(bed, 2, API_SERVICE));
    assert!(!processes(bed, 2).is_empty());
    node.heal().unwrap();
    assert!(node.cuts().unwrap().is_empty());
    assert!(reaches(bed, 2, API_SERVICE));
}

fn databases(bed: &Bed, kind: DatabaseKind) {
    let server = bed.database(kind, kind.name()).unwrap();
    let address = server.address();
    let at = (address.as_str(), kind.port());
    server.create("orders", "it's").unwrap();
    server.sql("orders", "CREATE TABLE kept (n INT)").unwrap();
    server.sql("orders", "INSERT INTO kept VALUES (42)").unwrap();
    let kept = || server.sql("orders", "SELECT n FROM kept").unwrap();
    server.restart().unwrap();
    assert_eq!(kept(), "42\n", "commits survive the server's end");
    assert_eq!(bed.database(kind, kind.name()).unwrap().address(), address);
    assert_eq!(kept(), "42\n", "a server that runs is left as it is");

    server.cut_from(&[1]).unwrap();
    assert!(!reaches(bed, 1, at) && reaches(bed, 2, at));
    assert!(server.is_cut().unwrap());
    server.cut().unwrap();
    assert!(!reaches(bed, 1, at) && !reaches(bed, 2, at));
    server.heal().unwrap();
    assert!(!server.is_cut().unwrap());
    let node = bed.node(1).unwrap();
    node.cut(From::Database).unwrap();
    assert_eq!(node.cuts().unwrap(), [From::Database]);
    assert!(!reaches(bed, 1, at) && reaches(bed, 2, at));
    node.heal().unwrap();
    assert!(reaches(bed, 1, at));

    server.freeze().unwrap();
    assert_eq!(server.state().unwrap(), State::Frozen);
    server.thaw().unwrap();
    assert_eq!(kept(), "42\n");
    server.stop().unwrap();
    assert_eq!(server.state().unwrap(), State::Gone);
    server.remove().unwrap();
    assert!(bed.known_database(kind.name()).is_err());
}

fn power_loss(bed: &Bed, storage: &Storage) {
    let node = bed.node(1).unwrap();
    let (holder, mut other) = storage::before_power_loss(bed, storage);
    let before = processes(bed, 1);
    node.power_off().unwrap();
    assert!(!node.is_on().unwrap());
    assert!(processes(bed, 1).is_empty());
    assert!(before.iter().all(|process| !process.process.is_alive().unwrap()));
    // Off is not worse than off.
    node.power_off().unwrap();
    drop(holder);
    storage::await_lock(&mut other);

    node.power_on().unwrap();
    wait::until("the pod to run again", Duration::from_secs(60), || {
        Ok(container(bed, 1)?.map(drop))
    })
    .unwrap();
    assert!(reaches(bed, 1, API_SERVICE));
    wait::until("the volume to be mounted again", Duration::from_secs(60), || {
        Ok(exec(bed, 1, "cat /store/file").is_ok_and(|text| text == "one\n").then_some(()))
    })
    .unwrap();
}

fn control_plane_faults(bed: &Bed) {
    let answers = || bed.kubectl(&["get", "nodes", "--request-timeout=2s"]).is_ok();
    // A server that has just woken or started may take longer than that for its first answers.
    let answers_again = || {
        let what = "the API server to answer";
        wait::until(what, Duration::from_secs(60), || Ok(answers().then_some(()))).unwrap();
    };
    let apiserver = bed.component(Component::Apiserver);
    apiserver.freeze().unwrap();
    assert!(!answers());
    apiserver.thaw().unwrap();
    answers_again();
    apiserver.stop().unwrap();
    assert!(!answers());
    apiserver.start().unwrap();
    answers_again();
}

fn pod(node: u8) -> String {
    format!("idle-{node}")
}

/// An idle pod with the volume.
fn run_pod(bed: &Bed, node: u8, volume: &str) {
    let overrides = format!(
        r#"--overrides={{"spec": {{
            "nodeName": "n{node}",
            "containers": [{{
                "name": "idle", "image": "{image}", "imagePullPolicy": "Never",
                "command": ["sleep", "1000000"],
                "volumeMounts": [{{"name": "store", "mountPath": "/store"}}]
            }}],
            "volumes": [{{
                "name": "store", "hostPath": {{"path": "{volume}", "type": "Directory"}}
            }}]
        }}}}"#,
        image = images::CLASSIC
    );
    let image = format!("--image={}", images::CLASSIC);
    bed.kubectl(&["run", &pod(node), &image, &overrides]).unwrap();
    let name = format!("pod/{}", pod(node));
    bed.kubectl(&["wait", &name, "--for=condition=Ready", "--timeout=60s"]).unwrap();
}

/// Runs a command in the pod on this node.
fn exec(bed: &Bed, node: u8, command: &str) -> Result<String> {
    bed.kubectl(&["exec", &pod(node), "--", "sh", "-c", command])
}

fn processes(bed: &Bed, node: u8) -> Vec<PodProcess> {
    let uid = bed.kubectl(&["get", "pod", &pod(node), "-o", "jsonpath={.metadata.uid}"]).unwrap();
    bed.processes_of_pod(&uid).unwrap()
}

/// The process of the pod's only container.
fn container(bed: &Bed, node: u8) -> Result<Option<PodProcess>> {
    Ok(processes(bed, node).into_iter().find(|process| process.name == "sleep"))
}

/// Whether the pod on this node can connect to the address, within two seconds.
fn reaches(bed: &Bed, node: u8, (host, port): (&str, u16)) -> bool {
    let process = container(bed, node).unwrap().expect("the pod runs");
    Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", process.process.pid()))
        .args(["timeout", "2", "bash", "-c", &format!("</dev/tcp/{host}/{port}")])
        .output()
        .unwrap()
        .status
        .success()
}
