use proptest::prelude::*;
use regex::Regex;

use super::*;

/// What log4j would write to the pipe for a message of a logger.
fn signs(logger: &str, message: &str) -> Vec<LogSign> {
    let of_logger = MESSAGES.iter().filter(|known| known.logger == logger);
    // `matches` of a `java.util.regex.Matcher` wants the whole text.
    let says = |regex: &str| Regex::new(&format!(r"\A(?:{regex})\z")).unwrap().is_match(message);
    of_logger.filter(|known| says(known.regex)).map(|known| known.sign).collect()
}

#[test]
fn each_message_of_the_broker_gives_its_sign() {
    let expiry = "orders-0.01234567.0000beef, becoming master with lease expiry Sun Nov 22 on dataSource: a\nb";
    for (logger, message, sign) in [
        (
            SUPPORT,
            "orders, no longer able to keep the exclusive lock so giving up being a master",
            LogSign::LockLost,
        ),
        (
            FILE_LOCKER,
            "Database /store/kahadb/lock is locked by another server. This broker is now in slave mode waiting a lock to be acquired",
            LogSign::Waits,
        ),
        (
            LEASE_LOCKER,
            "orders-0.01234567.0000beef attempting to acquire exclusive lease to become the master",
            LogSign::Waits,
        ),
        (LEASE_LOCKER, expiry, LogSign::Takes),
        (IO_ERRORS, "Ignoring IO exception, java.io.IOException: \n", LogSign::StorageFailed),
        (
            IO_ERRORS,
            "Ignoring no space left exception, java.io.IOException",
            LogSign::StorageFailed,
        ),
        (
            IO_ERRORS,
            "Stopping BrokerService[orders] due to exception, java.io.IOException: Async Writer Thread Shutdown",
            LogSign::StorageFailed,
        ),
    ] {
        assert_eq!(signs(logger, message), [sign], "{message}");
    }
}

proptest! {
    /// Everything else that these classes log with an exception's text or a name in it (5.18.4, 6.1.8,
    /// 6.3.1), with hostile text in its place.
    #[test]
    fn no_text_inside_of_another_message_gives_a_sign(text in hostile()) {
        let holder = "orders-0.01234567.0000beef";
        for (logger, message) in [
            (SUPPORT, "locker keepAlive resulted in".to_owned()),
            (SUPPORT, "No locker configured".to_owned()),
            (LEASE_LOCKER, format!("{holder} lease acquire failure: {text}")),
            (LEASE_LOCKER, format!("{holder}, failed to update lease: {text}")),
            (LEASE_LOCKER, format!("{holder} failed to release lease: {text}")),
            (LEASE_LOCKER, format!("{holder}, released lease")),
            (LEASE_LOCKER, format!("{holder} Lease held by {text} till {text}")),
            (LEASE_LOCKER, format!("{holder} diff adjust from db: 1, db time: {text}")),
            (IO_ERRORS, format!("Ignoring SQLException, {text}")),
            (IO_ERRORS, format!("Initiating stop/restart of transports on BrokerService[orders] due to IO exception, {text}")),
            (IO_ERRORS, "Failure occurred while stopping broker connectors".to_owned()),
            (IO_ERRORS, "Failed to allow IO resumption".to_owned()),
        ] {
            prop_assert_eq!(signs(logger, &message), [], "{}", message);
        }
        // Whatever any other class logs.
        prop_assert_eq!(signs("org.apache.activemq.broker.TransportConnection", &text), []);
    }
}

#[test]
fn no_layout_of_the_pipe_takes_up_any_data() {
    for with_database in [false, true] {
        let text = render(with_database, &Levels::new());
        let pipes: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let (key, pattern) = line.split_once(".layout.pattern = ")?;
                (!["appender.console", "appender.brief"].contains(&key)).then_some(pattern)
            })
            .collect();
        let words = MESSAGES.iter().map(|message| format!("{}%n", message.sign.as_str()));
        assert_eq!(pipes, words.collect::<Vec<_>>());
    }
}

#[test]
fn levels_of_people_silence_no_sign() {
    let levels = ["root", "org.apache", SUPPORT, "org.apache.activemq.store.jdbc", "a.B$C"];
    let levels: Levels = levels.map(|name| (name.to_owned(), LogLevel::Off)).into();
    for with_database in [false, true] {
        let silent = render(with_database, &levels);
        for logger in LOGGERS {
            let at = format!(".name = {logger}\n");
            let section = silent.split_once(&at).unwrap().1;
            assert!(section.lines().next().unwrap().ends_with(".level = INFO"), "{section}");
            assert_eq!(silent.matches(&at).count(), 1, "{silent}");
        }
        for line in ["rootLogger.level = OFF\n", ".name = a.B$C\n"] {
            assert!(silent.contains(line), "{silent}");
        }
    }
}

#[test]
fn names_of_loggers_are_checked() {
    assert_eq!([refusal("org.apache.activemq"), refusal("root"), refusal("a.B$C_1")], [None; 3]);
    for name in ["", "a b", "a\nrootLogger.level = OFF", "a=b", "${env:X}", LEASE_LOCKER] {
        assert!(refusal(name).is_some(), "{name}");
    }
}

/// Pieces of the messages that matter, line ends, and anything else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "\n",
            "\r\n",
            "\u{2028}",
            "\u{0}",
            "\u{1b}[2J",
            "%n",
            "${env:HOME}",
            "lock-lost\n",
            "storage-failed\n",
            "orders, no longer able to keep the exclusive lock so giving up being a master",
            "Database x is locked by another server. This broker is now in slave mode waiting a lock to be acquired",
            "x attempting to acquire exclusive lease to become the master",
            "x, becoming master with lease expiry ",
            "Ignoring IO exception, ",
            "Stopping BrokerService[x] due to exception, ",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}
