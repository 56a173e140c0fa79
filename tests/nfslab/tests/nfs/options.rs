//! What the kernel says of mount options, and what those do that keep locks on the client.

use std::path::PathBuf;

use nfslab::Machine;
use nfslab::wire::Call;
use tandem::broker::report::{Evidence, LockView};

use crate::world::{LOCK, Prober, lab};

/// What is asked for. What the kernel then says is in `recorded`, for tests without machines.
const OPTIONS: [&str; 19] = [
    "vers=4.0",
    "vers=4.1",
    "vers=4.2",
    "vers=4.1,soft,timeo=20,retrans=2",
    "vers=4.1,softerr,timeo=20,retrans=2",
    "vers=4.1,sync",
    "vers=4.1,noac",
    "vers=4.1,soft,sync,timeo=20,retrans=2",
    "vers=4.1,softerr,noac,lookupcache=none,timeo=20,retrans=2",
    "vers=4.1,actimeo=0",
    "vers=4.1,nolock",
    "vers=4.1,local_lock=all",
    "vers=4.0,nolock",
    "vers=3",
    "vers=3,nolock",
    "vers=3,local_lock=posix",
    "vers=3,local_lock=flock",
    "vers=3,local_lock=all",
    "vers=3,soft,noac,nolock",
];

#[test]
fn what_the_kernel_says_of_mounts() {
    let lab = lab();
    let [machine] = lab.machines(["a"]).unwrap();
    machine.start_lock_daemons().unwrap();
    let lines: Vec<String> =
        OPTIONS.iter().zip(1..).map(|(options, number)| line(&machine, options, number)).collect();
    compare("mountinfo", &(lines.join("\n") + "\n"));

    for options in ["vers=4.1,noac", "vers=3"] {
        machine.mount(nfslab::EXPORT, &format!("/mnt/{options}"), options).unwrap();
    }
    // Without what counts calls and time.
    let stats = "grep -E '^device|opts:|nfsv4:' /proc/self/mountstats";
    compare("mountstats", &(machine.shell(stats).unwrap() + "\n"));
}

/// With what `recorded` holds.
fn compare(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name);
    if std::env::var_os("TANDEM_GENERATE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(recorded, found, "run it with TANDEM_GENERATE=1 if the new one is right");
}

/// The mount point is called by the options that were asked for. Numbers of mounts differ from run
/// to run, so they are counted from 1.
fn line(machine: &Machine, options: &str, number: usize) -> String {
    let at = format!("/mnt/{options}");
    machine.mount(nfslab::EXPORT, &at, options).unwrap();
    let lines = machine.shell("cat /proc/self/mountinfo").unwrap();
    let line = lines.lines().find(|line| line.contains(&format!(" {at} "))).unwrap();
    let rest: Vec<&str> = line.split(' ').skip(3).collect();
    machine.shell(&format!("umount {at}")).unwrap();
    format!("{} 1 0:{number} {}", number + 1, rest.join(" "))
}

/// With NFSv4 these options are taken, and mean nothing.
#[test]
fn locks_kept_on_the_client_make_two_masters() {
    let lab = lab();
    let machines = lab.machines(["a", "b"]).unwrap();
    for machine in &machines {
        machine.start_lock_daemons().unwrap();
    }
    for (options, masters) in [
        ("vers=3,nolock", 2),
        ("vers=3,local_lock=posix", 2),
        ("vers=3,local_lock=all", 2),
        ("vers=3,local_lock=flock", 1),
        ("vers=3", 1),
        ("vers=4.0,nolock", 1),
        ("vers=4.1,local_lock=all", 1),
    ] {
        let mut held = Vec::new();
        for machine in &machines {
            machine.mount(nfslab::EXPORT, "/mnt", options).unwrap();
            let mut actor = machine.actor().unwrap();
            actor.done(&Call::Open(LOCK.to_owned())).unwrap();
            let got = actor.call(&Call::TryLock(0)).unwrap().result.is_ok();
            let view = Prober::start(machine, LOCK).view(Some(actor.pid()));
            let mine = LockView::Mine(Evidence::ClientTable);
            assert_eq!(view, if got { mine } else { LockView::Other }, "{options}");
            held.push((actor, got));
        }
        assert_eq!(held.iter().filter(|(_, got)| *got).count(), masters, "{options}");
        for (mut actor, _) in held {
            actor.kill().unwrap();
        }
        for machine in &machines {
            machine.shell("umount /mnt").unwrap();
        }
    }
}
