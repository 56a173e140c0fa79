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
