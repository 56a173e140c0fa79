use super::*;
use crate::agent::ending::Way;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// A shell in the broker's place, with its pipe as `$0`, in a directory that is kept.
fn start(script: &str) -> (Broker, Receiver<Event>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let signs = directory.path().join("signs").to_str().unwrap().to_owned();
    let (events, queue) = mpsc::channel(100);
    let kept = Kept::default();
    let output = Output::start().unwrap();
    let around = Surroundings { events, output, kept };
    let settings = ChildSettings {
        program: "/bin/sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned(), signs.clone()],
        signs: Some(signs),
    };
    (Broker::start(&settings, 7, around).unwrap(), queue, directory)
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

fn ended(status: &str, way: Way) -> ChildNews {
    ChildNews::Exited(Ended { status: status.to_owned(), way })
}

#[tokio::test]
async fn an_end_is_told_with_its_status_and_then_that_nothing_is_left() {
    let (_broker, mut queue, _directory) = start("exit 3");
    assert_eq!(news(&mut queue).await, ended("exit status 3", Way::Exited));
    assert_eq!(news(&mut queue).await, ChildNews::Gone);
}

#[tokio::test]
async fn signals_reach_it() {
    for (signal, name, way) in [
        (Signal::SIGTERM, "signal SIGTERM", Way::Signalled),
        (Signal::SIGKILL, "signal SIGKILL", Way::Killed),
    ] {
        let (broker, mut queue, _directory) = start("exec sleep 60");
        broker.signal(signal);
        assert_eq!(news(&mut queue).await, ended(name, way));
        assert_eq!(news(&mut queue).await, ChildNews::Gone);
    }
}

#[tokio::test]
async fn a_descendant_that_outlives_it_is_killed_before_it_counts_as_gone() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let (_broker, mut queue, _directory) = start("sleep 61 & echo waits > \"$0\"");
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
async fn signs_come_by_the_pipe_alone_and_before_the_end() {
    let script = "echo lock-lost; echo lock-lost >&2; sleep 0.2; echo waits > \"$0\"; \
                  echo 'orders, no longer able to keep the exclusive lock so giving up being a master'; \
                  echo storage-failed > \"$0\"; exit 0";
    let (_broker, mut queue, _directory) = start(script);
    for expected in [LogSign::Waits, LogSign::StorageFailed] {
        let event = next(&mut queue).await;
        assert!(
            matches!(event, Event::Log { generation: 7, sign } if sign == expected),
            "{event:?}"
        );
    }
    assert_eq!(news(&mut queue).await, ended("exit status 0", Way::Exited));
}

#[tokio::test]
async fn a_program_or_a_directory_that_is_not_there_is_an_error() {
    let (events, _queue) = mpsc::channel(1);
    let around = Surroundings { events, output: Output::start().unwrap(), kept: Kept::default() };
    for (signs, problem) in
        [(None, "cannot start /no/java: "), (Some("/no/signs"), "cannot make /no/signs: ")]
    {
        let program = "/no/java".to_owned();
        let signs = signs.map(str::to_owned);
        let settings = ChildSettings { program, arguments: Vec::new(), signs };
        let error = Broker::start(&settings, 1, around.clone()).unwrap_err();
        assert!(error.starts_with(problem), "{error}");
    }
}

#[tokio::test]
async fn a_megabyte_without_a_line_feed_is_passed_on() {
    let (_broker, mut queue, _directory) =
        start("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 4");
    assert_eq!(news(&mut queue).await, ended("exit status 4", Way::Exited));
}

#[test]
fn a_process_that_ends_is_known_before_it_is_reaped() {
    let lives = "42 (java (x) y) S 1 42 42 0 -1 4194560 100 0 0";
    let ends = "42 (java (x) y) R 1 42 42 0 -1 4194564 100 0 0";
    let ended = "42 (java (x) y) Z 1 42 42 0 -1 4227084 100 0 0";
    assert_eq!([lives, ends, ended].map(tells_end), [false, true, true]);
}
