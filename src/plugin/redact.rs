//! What must not leave the cluster is taken out of what a support bundle holds. Pure.

use serde_json::Value;

use crate::secret;

/// In place of what was taken out.
pub const REDACTED: &str = "REDACTED";

/// What stands before a secret, in lower case.
const WORDS: [&str; 4] = ["password", "passwd", "secret", "token"];
/// What ends a secret that is not quoted.
const ENDS: [char; 9] = [' ', '\t', '\n', '&', ';', ',', '<', '"', '\''];

/// An object without values of environment variables, without whatever is called a password, and without
/// what only repeats it.
pub fn object(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    walk(&mut object);
    object
}

fn walk(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                if key == "env" {
                    environment(inner);
                }
                if is_password(key) && inner.is_string() {
                    *inner = REDACTED.into();
                }
                walk(inner);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(walk),
        Value::String(string) => *string = text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Values that are written down; references say only where a value is.
fn environment(variables: &mut Value) {
    for variable in variables.as_array_mut().into_iter().flatten() {
        if let Some(value) = variable.get_mut("value") {
            *value = REDACTED.into();
        }
    }
}

/// A field with a password in it; `passwordKey` says only where one is.
fn is_password(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("password") || key.ends_with("passwd")
}

/// A text without the logins of URLs, and without what follows `password=`, `password: `, `token=` and the
/// like.
pub fn text(text: &str) -> String {
    let text = &*secret::without_userinfo(text, REDACTED);
    let lower = text.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, end)) = next_secret(text, &lower, at) {
        kept.push_str(text.get(at..start).unwrap_or_default());
        kept.push_str(REDACTED);
        at = end;
    }
    kept.push_str(text.get(at..).unwrap_or_default());
    kept
}

/// Where the next secret begins and ends.
fn next_secret(text: &str, lower: &str, mut from: usize) -> Option<(usize, usize)> {
    loop {
        let found = WORDS.iter().filter_map(|word| {
            let at = lower.get(from..)?.find(word)?;
            Some(from + at + word.len())
        });
        let after = found.min()?;
        match value_after(text, after) {
            Some(place) => return Some(place),
            None => from = after,
        }
    }
}

/// The value of an assignment whose name ends here. A placeholder is none.
fn value_after(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let trimmed = rest.trim_start_matches(['"', '\'']).trim_start_matches(' ');
    let (separator, value) = (trimmed.chars().next()?, trimmed.get(1..)?);
    if !matches!(separator, '=' | ':') {
        return None;
    }
    let value = value.trim_start_matches(' ');
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let bare = if quote.is_some() { value.get(1..)? } else { value };
    let length = match quote {
        Some(quote) => bare.find(quote).unwrap_or(bare.len()),
        None => bare.find(ENDS).unwrap_or(bare.len()),
    };
    let start = text.len() - bare.len();
    let secret = bare.get(..length)?;
    let is_one = !secret.is_empty() && !secret.starts_with("${");
    is_one.then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_follows_the_word_is_taken_out() {
        for (given, left) in [
            ("password=hunter2 next", "password=REDACTED next"),
            ("a&Password=x&b=1", "a&Password=REDACTED&b=1"),
            (
                "jdbc:mysql://db/mq?user=a&password=b;c",
                "jdbc:mysql://db/mq?user=a&password=REDACTED;c",
            ),
            (r#"<u password="hunter two"/>"#, r#"<u password="REDACTED"/>"#),
            (r#"{"password": "x", "a": 1}"#, r#"{"password": "REDACTED", "a": 1}"#),
            ("-Djavax.net.ssl.keyStorePassword=x", "-Djavax.net.ssl.keyStorePassword=REDACTED"),
            ("Authorization token: abc", "Authorization token: REDACTED"),
            ("password=a password=b", "password=REDACTED password=REDACTED"),
            ("tcp://u:p@h failed", "tcp://REDACTED@h failed"),
            ("jdbc:oracle:thin:scott/tiger@h", "jdbc:oracle:thin:REDACTED@h"),
            // These are no secrets.
            ("password=${activemq.password}", "password=${activemq.password}"),
            ("the password of the user is wrong", "the password of the user is wrong"),
            ("secretName: orders-admin", "secretName: orders-admin"),
            ("password=", "password="),
            ("no such word", "no such word"),
        ] {
            assert_eq!(text(given), left);
        }
    }

    #[test]
    fn objects_lose_values_and_keep_references() {
        let cleaned = object(json!({
            "metadata": {
                "name": "orders",
                "managedFields": [{}],
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "everything", "mine": "stays",
                },
            },
            "spec": {
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                ],
                "adminPassword": "x",
                "passwordKey": "password",
                "credentialsSecret": {"name": "db"},
                "options": ["-Dpassword=x"],
            },
        }));
        assert_eq!(
            cleaned,
            json!({
                "metadata": {"name": "orders", "annotations": {"mine": "stays"}},
                "spec": {
                    "env": [
                        {"name": "A", "value": REDACTED},
                        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                    ],
                    "adminPassword": REDACTED,
                    "passwordKey": "password",
                    "credentialsSecret": {"name": "db"},
                    "options": ["-Dpassword=REDACTED"],
                },
            })
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_no_assigned_password_stays(
            before in "\\PC{0,12}", secret in "[a-zA-Z0-9]{8}", after in "\\PC{0,12}",
        ) {
            let cleaned = text(&format!("{before} password={secret} {after}"));
            prop_assert!(!cleaned.contains(&secret) || before.contains(&secret) || after.contains(&secret));
        }
    }
}
