use super::*;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

fn start(script: &str) -> (Broker, Receiver<Event>, Kept) {
    let (events, queue) = mpsc::channel(100);
    let kept = Kept::default();
    let output = Output::start().unwrap();
    let around = Surroundings { events, output, kept: kept.clone() };
    let settings = ChildSettings {
        program: "/bin/sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
    };
    (Broker::start(&settings, 7, around).unwrap(), queue, kept)
}

async fn next(queue: &mut Receiver<Event>) -> Event {
    timeout(Duration::from_secs(20), queue.recv()).await.expect("no event came").unwrap()
}

async fn news(queue: &mut Receiver<Event>) -> ChildNews {
    loop {
        if let Event::Child { generation, news } = next(queue).await {
            assert_eq!(generation, 7);
            return news;
        }
    }
}

#[tokio::test]
async fn an_end_is_told_with_its_status_and_then_that_nothing_is_left() {
    let (_broker, mut queue, _) = start("exit 3");
    assert_eq!(news(&mut queue).await, ChildNews::Exited("exit status 3".to_owned()));
    assert_eq!(news(&mut queue).await, ChildNews::Gone);
}

#[tokio::test]
async fn signals_reach_it() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGKILL, "SIGKILL")] {
        let (broker, mut queue, _) = start("exec sleep 60");
        broker.signal(signal);
        assert_eq!(news(&mut queue).await, ChildNews::Exited(format!("signal {name}")));
        assert_eq!(news(&mut queue).await, ChildNews::Gone);
    }
}

#[tokio::test]
async fn a_descendant_that_outlives_it_is_killed_before_it_counts_as_gone() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let (_broker, mut queue, _) =
        start("sleep 61 & echo in slave mode waiting a lock to be acquired");
    loop {
        if let Event::Child { news: ChildNews::Gone, .. } = next(&mut queue).await {
            break;
        }
    }
    let left = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line == b"sleep\x0061\0"
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn the_log_s_words_about_the_lock_are_told_from_either_stream() {
    let lost = "broker, no longer able to keep the exclusive lock so giving up being a master";
    let (_broker, mut queue, _) = start(&format!("printf '%s' '{lost}' >&2; sleep 0.2; exit 0"));
    let event = next(&mut queue).await;
    assert!(matches!(event, Event::Log { generation: 7, sign: LogSign::LockLost }), "{event:?}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let (events, _queue) = mpsc::channel(1);
    let around = Surroundings { events, output: Output::start().unwrap(), kept: Kept::default() };
    let settings = ChildSettings { program: "/no/java".to_owned(), arguments: Vec::new() };
    assert!(Broker::start(&settings, 1, around).is_err());
}

#[tokio::test]
async fn a_megabyte_without_a_line_feed_is_passed_on() {
    let (_broker, mut queue, _) = start("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 4");
    assert_eq!(news(&mut queue).await, ChildNews::Exited("exit status 4".to_owned()));
}

#[test]
fn lines_without_a_meaning_mean_nothing() {
    assert_eq!(sign(b"Apache ActiveMQ 6.3.1 (orders) started\n"), None);
    assert_eq!(sign(b""), None);
}

#[test]
fn what_a_broker_logs_of_a_full_disk_is_understood() {
    let ignored: &[u8] =
        b"INFO  DefaultIOExceptionHandler Ignoring no space left exception, java.io";
    let starting: &[u8] =
        b"INFO  DefaultIOExceptionHandler Ignoring IO exception, java.io.IOException";
    let ends: &[u8] = b"INFO  DefaultIOExceptionHandler Stopping BrokerService[orders] due to \
        exception, java.io.IOException: Async Writer Thread Shutdown";
    for line in [ignored, starting, ends] {
        assert_eq!(sign(line), Some(LogSign::StorageFailed));
    }
}

#[test]
fn what_a_broker_with_a_lease_logs_is_understood() {
    let line = b"INFO orders-0.01234567.0000beef attempting to acquire exclusive lease to become \
        the master\n";
    assert_eq!(sign(line), Some(LogSign::Waits));
    let line = b"INFO orders-0.01234567.0000beef, becoming master with lease expiry Sun Nov 22";
    assert_eq!(sign(line), Some(LogSign::Takes));
}

#[test]
fn a_process_that_ends_is_known_before_it_is_reaped() {
    let lives = "42 (java (x) y) S 1 42 42 0 -1 4194560 100 0 0";
    let ends = "42 (java (x) y) R 1 42 42 0 -1 4194564 100 0 0";
    let ended = "42 (java (x) y) Z 1 42 42 0 -1 4227084 100 0 0";
    assert_eq!([lives, ends, ended].map(tells_end), [false, true, true]);
}
