//! A bed that is taken down leaves nothing on the machine, also after parts of it were killed.
//!
//! Needs what a bed needs (root, Linux) and fails without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use testbed::{Bed, DatabaseKind, Options, Process, StorageOptions, shell, wait};

const NAME: &str = "leaves-nothing";

/// Where the node's programs would write on the machine if the node had no directories of its own.
const FIXED_PLACES: [&str; 9] = [
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/etc/kubernetes",
];

/// What of the machine a bed could leave its marks on.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    links: BTreeSet<String>,
    mounts: BTreeSet<String>,
    groups: BTreeSet<String>,
    network_namespaces: BTreeSet<String>,
    places: BTreeSet<&'static str>,
    has_directory: bool,
}

/// What existed only because of the bed, seen while it was up.
struct Living {
    processes: Vec<Process>,
    namespaces: BTreeSet<String>,
    /// A number that is free is given to the next namespace that anybody makes. Not mount namespaces:
    /// they would keep what is mounted.
    _held: Vec<fs::File>,
}

#[test]
fn down_leaves_nothing_even_after_a_crash() {
    Bed::remove(NAME).unwrap();
    let before = machine();

    let bed = Bed::up(&options()).unwrap();
    run_pod(&bed);
    bed.database(DatabaseKind::Postgresql, "db").unwrap();
    make_storage(&bed);
    let living = living();
    assert!(living.processes.len() > 10, "only {} processes", living.processes.len());
    bed.down().unwrap();
    assert_gone(&living);
    assert_eq!(machine(), before);

    // Down again is fine.
    Bed::remove(NAME).unwrap();

    let bed = Bed::up(&options()).unwrap();
    run_pod(&bed);
    bed.database(DatabaseKind::Postgresql, "db").unwrap();
    make_storage(&bed);
    kill_parts(&bed);
    let bed_again = Bed::up(&options()).unwrap();
    await_pod(&bed_again);
    assert!(bed_again.databases().unwrap().is_empty(), "they are made on demand");
    assert!(bed_again.storages().unwrap().is_empty(), "they are made on demand");
    bed_again.database(DatabaseKind::Mariadb, "db").unwrap();
    make_storage(&bed_again);
    kill_parts(&bed);
    // As if it had been killed while it came up.
    fs::remove_file(bed.layout().root().join("bed.json")).unwrap();
    let living = self::living();
    Bed::remove(NAME).unwrap();
    assert_gone(&living);
    assert_eq!(machine(), before);
}

fn options() -> Options {
    Options {
        name: NAME.to_owned(),
        nodes: Some(1),
        program: Some(env!("CARGO_BIN_EXE_testbed").into()),
        ..Options::default()
    }
}

/// A container, so that there are its shim, its mounts, its control groups and its network.
fn run_pod(bed: &Bed) {
    bed.kubectl(&["run", "idle", "--image=localhost/pause:1", "--image-pull-policy=Never"])
        .unwrap();
    await_pod(bed);
}

fn await_pod(bed: &Bed) {
    bed.kubectl(&["wait", "pod/idle", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    wait::until("the pod's processes", Duration::from_secs(30), || {
        let uid = bed.kubectl(&["get", "pod", "idle", "-o", "jsonpath={.metadata.uid}"])?;
        Ok((bed.processes_of_pod(&uid)?.len() == 2).then_some(()))
    })
    .unwrap();
}

/// A storage server with everything it can have, in use on the node.
fn make_storage(bed: &Bed) {
    let options =
        StorageOptions { size: Some(16), witness: true, writeback: true, ..Default::default() };
    let storage = bed.storage("store", &options).unwrap();
    let file = storage.directory("used").unwrap().join("file");
    let mut user = bed.node(1).unwrap().command("sh").unwrap();
    // Its file is open, and what it wrote is still with the node.
    let command = "exec 3> \"$1\"; echo kept >&3; sleep 1000000 < /dev/null > /dev/null 2>&1 &";
    shell::run(user.args(["-c", command, "sh"]).arg(file)).unwrap();
}

/// One part of the control plane, the process that holds the node, a database's first process, and
/// those of a storage server.
fn kill_parts(bed: &Bed) {
    for part in ["etcd", "n1", "d1", "s1", "s1-witness"] {
        let process = Process::load(&bed.layout().process_record(part)).unwrap().unwrap();
        process.signal(Signal::SIGKILL).unwrap();
    }
}

fn machine() -> Machine {
    Machine {
        links: names_in(Path::new("/sys/class/net")),
        mounts: mounts(),
        groups: hierarchies()
            .flat_map(|top| names_in(Path::new(&top)))
            .filter(|name| is_of_bed(name))
            .collect(),
        network_namespaces: names_in(Path::new("/run/netns"))
            .into_iter()
            .filter(|name| is_of_bed(name))
            .collect(),
        places: FIXED_PLACES.into_iter().filter(|place| Path::new(place).exists()).collect(),
        has_directory: Path::new(testbed::layout::STATE).join(NAME).exists(),
    }
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn is_of_bed(name: &str) -> bool {
    name.starts_with(NAME)
}

/// Mount points with what is mounted there; other beds may come and go meanwhile.
fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let others = |line: &&str| !line.contains(" /run/netns") || line.contains(NAME);
    let without_ids = |line: &str| line.splitn(4, ' ').last().unwrap_or_default().to_owned();
    text.lines().filter(others).map(without_ids).collect()
}

fn hierarchies() -> impl Iterator<Item = String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let tops: Vec<String> = text
        .lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect();
    tops.into_iter()
}

fn living() -> Living {
    let mark = format!("/{NAME}-");
    let pids = names_in(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<i32>().ok());
    let of_bed = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&mark))
    };
    let pids: Vec<i32> = pids.filter(of_bed).collect();
    let own = namespaces_of("self");
    let held =
        pids.iter().flat_map(|pid| ["net", "pid", "ipc", "uts", "cgroup"].map(|it| (pid, it)));
    let held = held.filter_map(|(pid, kind)| fs::File::open(format!("/proc/{pid}/ns/{kind}")).ok());
    Living {
        _held: held.collect(),
        processes: pids.iter().filter_map(|pid| Process::find(*pid).unwrap()).collect(),
        namespaces: pids
            .iter()
            .flat_map(|pid| namespaces_of(&pid.to_string()))
            .filter(|namespace| !own.contains(namespace))
            .collect(),
    }
}

/// Names like `net:[4026532201]`.
fn namespaces_of(process: &str) -> BTreeSet<String> {
    ["net", "mnt", "pid", "ipc", "uts", "cgroup"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect()
}

fn assert_gone(living: &Living) {
    for process in &living.processes {
        assert!(!process.is_alive().unwrap(), "{process:?} is left");
    }
    for pid in names_in(Path::new("/proc")).iter().filter_map(|name| name.parse::<i32>().ok()) {
        let namespaces = namespaces_of(&pid.to_string());
        let left: Vec<&String> = namespaces.intersection(&living.namespaces).collect();
        // One that has ended and only waits for the machine's first process to notice is gone.
        let ended = Process::find(pid).unwrap().is_none_or(|process| !process.is_alive().unwrap());
        assert!(ended || left.is_empty(), "process {pid} keeps {left:?}");
    }
}
