use proptest::prelude::*;

use super::*;

fn secret(text: &str) -> Secret {
    Secret(text.to_owned())
}

fn kept(text: &str, values: &[&str]) -> bool {
    let secrets: Vec<_> = values.iter().map(|value| secret(value)).collect();
    let said = withheld(text.to_owned(), &secrets.iter().collect::<Vec<_>>());
    assert!(said == text || said == WITHHELD, "{said}");
    said == text
}

#[test]
fn what_servers_say_is_kept_unless_it_names_the_user() {
    let values = ["sc0tt", "t1ger"];
    for text in [
        "relation \"activemq_lock\" does not exist",
        "Host '10.1.2.3' is not allowed to connect to this MySQL server",
        "too many connections",
    ] {
        assert!(kept(text, &values), "{text}");
    }
    for text in [
        "password authentication failed for user \"sc0tt\"",
        "Access denied for user 'SC0TT'@'10.1.2.3' (using password: YES)",
        "permission denied for schema sc0tt_1",
        "t1ger",
    ] {
        assert!(!kept(text, &values), "{text}");
    }
}

#[test]
fn a_long_value_is_known_by_a_part_of_it() {
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IlpYIn0.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50";
    let cut_off = &token[..63];
    assert!(!kept(&format!("role \"{cut_off}\" does not exist"), &[token]));
    assert!(!kept(&format!("near ...{}", &token[30..45]), &[token]));
    assert!(kept(&format!("near ...{}", &token[30..38]), &[token]));
}

#[test]
fn an_empty_value_is_in_no_text() {
    assert!(kept("anything", &["", ""]));
}

#[test]
fn a_value_has_no_readable_form() {
    let value = Secret::of_file(b"hunter2\r\n\n".to_vec()).unwrap();
    assert_eq!(value.expose(), "hunter2");
    assert_eq!(format!("{value:?} {:?}", Some(&value)), "Secret(..) Some(Secret(..))");
    assert_eq!(Secret::of_file(vec![0xff]), None);
    assert_eq!(trimmed(b" a\nb \n".to_vec()), b" a\nb ");
}

#[test]
fn logins_of_urls_are_taken_out() {
    for (given, left) in [
        (
            "failover:(tcp://a:61616,tcp://u:p@b:61616)",
            "failover:(tcp://a:61616,tcp://***@b:61616)",
        ),
        ("to amqp://user@host/path now", "to amqp://***@host/path now"),
        ("url=\"https://u:p%40q@h/x\"", "url=\"https://***@h/x\""),
        ("tcp://u:p/q@h", "tcp://***@h"),
        ("jdbc:oracle:thin:scott/tiger@//db:1521/mq", "jdbc:oracle:thin:***@//db:1521/mq"),
        ("jdbc:oracle:thin:scott/ti:ger@db:1521:mq", "jdbc:oracle:thin:***@db:1521:mq"),
        ("sqlplus scott/tiger@mq", "sqlplus ***@mq"),
        // These have none.
        ("jdbc:oracle:thin:@//db:1521/mq", "jdbc:oracle:thin:@//db:1521/mq"),
        ("jdbc:oracle:thin:/@alias", "jdbc:oracle:thin:/@alias"),
        ("jdbc:postgresql://db:5432/mq?a=b", "jdbc:postgresql://db:5432/mq?a=b"),
        ("ghcr.io/tandem/tandem@sha256:0123", "ghcr.io/tandem/tandem@sha256:0123"),
        ("ghcr.io/tandem@sha256:0123", "ghcr.io/tandem@sha256:0123"),
        ("java.base@17.0.1/java.net.Socket.connect", "java.base@17.0.1/java.net.Socket.connect"),
        ("ann@example.com", "ann@example.com"),
        ("from tcp:///10.0.0.1:4711@61616:", "from tcp:///10.0.0.1:4711@61616:"),
        ("//server/share @ 10", "//server/share @ 10"),
    ] {
        assert_eq!(without_userinfo(given, "***"), left);
        assert_eq!(without_userinfo(left, "***"), left.to_owned(), "twice");
    }
}

proptest! {
    #[test]
    fn no_login_of_a_url_stays(
        before in "[ a-z=(]{0,8}", user in "[A-Z0-9]{1,8}", password in "[A-Z0-9:/@%.~-]{1,12}",
        host in "[a-z]{1,8}",
    ) {
        let password = format!("x{password}");
        for scheme in ["tcp://", "jdbc:mysql://", "ldaps://", "jdbc:oracle:thin:"] {
            let text = format!("{before} {scheme}{user}:{password}@{host} after");
            let left = without_userinfo(&text, "***");
            prop_assert_eq!(left, format!("{before} {scheme}***@{host} after"));
        }
    }
}

fn percent(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn java(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat()
}

fn xml(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

proptest! {
    /// Whatever a user or a password looks like, and however it is written into a text.
    #[test]
    fn a_text_that_repeats_a_value_is_withheld(
        before in "[ a-z'.:]{0,20}", value in "\\PC{1,40}", after in "[ A-Z'.:]{0,20}",
    ) {
        let forms = [
            value.clone(),
            value.to_uppercase().to_lowercase(),
            json(&value),
            format!("{value:?}"),
            percent(&value),
            java(&value),
            xml(&value),
            xml(&json(&value)),
            percent(&json(&value)),
            json(&format!("{value:?}")),
            value.replace('\'', "''"),
        ];
        for form in forms {
            // Some letters have no way back, such as the sharp s.
            if form == value.to_uppercase().to_lowercase() && form != value.to_lowercase() {
                continue;
            }
            let text = format!("{before}{form}{after}");
            prop_assert!(!kept(&text, &["", &value]), "{:?} in {:?}", value, text);
        }
    }

    #[test]
    fn a_value_with_line_breaks_is_found_in_what_quotes_it(
        value in "[a-z]{1,4}[\n\t\"\\\\]{1,3}[a-z]{1,4}",
    ) {
        let forms = [format!("{value:?}"), json(&value), java(&value)];
        for form in forms {
            prop_assert!(!kept(&format!("user {form}."), &[&value]), "{form}");
        }
    }

    #[test]
    fn any_text_and_any_value_is_survived(text in any::<String>(), value in any::<String>()) {
        kept(&text, &[&value]);
    }
}
