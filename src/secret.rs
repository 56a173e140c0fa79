//! Text that comes from a Secret: it has no readable form of its own, and [`withheld`] keeps it out of
//! what others say, such as a server that quotes the user's name.

use std::{collections::HashSet, fmt};

/// A value is taken for repeated when so many characters of it stand in a text one after the other. Servers
/// cut long names off: PostgreSQL after 63 bytes (`NAMEDATALEN`).
const PART: usize = 12;

/// In place of what was withheld.
pub const WITHHELD: &str = "its words are left out, because they repeat part of a Secret";

/// One value of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

impl Secret {
    /// The value that a mounted Secret's file holds. Nothing if it is not UTF-8.
    pub fn of_file(bytes: Vec<u8>) -> Option<Self> {
        String::from_utf8(trimmed(bytes)).ok().map(Self)
    }

    /// The value itself, for whoever checks it or puts it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Without the line breaks at the end, which `echo` and editors leave and nobody means as part of a
/// password. The one place that says so: agent and broker must log in alike.
pub fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        bytes.pop();
    }
    bytes
}

/// What somebody else said, or [`WITHHELD`] if it repeats one of these values, or a long part of one, in
/// whatever case, escaped, quoted or percent-encoded. Nothing is cut out of a text: what is left around a
/// gap would tell what was there.
pub fn withheld(text: String, secrets: &[&Secret]) -> String {
    let readings = readings(&text);
    let repeats = |secret: &&Secret| {
        let value = folded(&secret.0);
        readings.iter().any(|reading| shares(reading, &value))
    };
    if secrets.iter().any(repeats) { WITHHELD.to_owned() } else { text }
}

fn shares(text: &[char], value: &[char]) -> bool {
    let length = value.len().min(PART);
    if length == 0 {
        return false;
    }
    let parts: HashSet<&[char]> = value.windows(length).collect();
    text.windows(length).any(|part| parts.contains(part))
}

fn folded(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The text as it stands, and as it reads with one or two kinds of encoding undone.
fn readings(text: &str) -> Vec<Vec<char>> {
    let once = undone(text);
    let twice = once.iter().flat_map(|reading| undone(reading));
    let all: HashSet<String> = twice.chain(once.clone()).chain([text.to_owned()]).collect();
    all.iter().map(|reading| folded(reading)).collect()
}

fn undone(text: &str) -> [String; 6] {
    [
        percent_decoded(text),
        unescaped(text),
        without_entities(text),
        // As SQL quotes its quotes.
        text.replace("''", "'"),
        text.replace("\"\"", "\""),
        text.replace("``", "`"),
    ]
}

/// `%C3%A9` and `+`, as in URLs.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Backslashes of JSON, Java, SQL and Rust: `\"`, `\n`, `\u00e9`, `\u{e9}`.
fn unescaped(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        let plain = if next == '\\' { escape(&mut rest, &mut units) } else { Some(next) };
        if let Some(plain) = plain {
            units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
        }
    }
    String::from_utf16_lossy(&units)
}

/// What follows a backslash: a character, or a number that is added to the units.
fn escape(rest: &mut std::str::Chars<'_>, units: &mut Vec<u16>) -> Option<char> {
    match rest.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        '0' => Some('\0'),
        'u' => {
            let text = rest.as_str();
            let braced = text.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (digits, length) = match braced {
                Some((digits, _)) => (digits, digits.len() + 2),
                None => (text.get(..4)?, 4),
            };
            let code = u32::from_str_radix(digits, 16).ok()?;
            *rest = text.get(length..)?.chars();
            match u16::try_from(code) {
                // Perhaps half of a pair.
                Ok(unit) => units.push(unit),
                Err(_) => return char::from_u32(code),
            }
            None
        }
        other => Some(other),
    }
}

/// `&amp;` and the like, as in XML.
fn without_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after.split_once(';');
        let entity = entity.and_then(|(name, after)| Some((entity_char(name)?, after)));
        let (char, after) = entity.unwrap_or(('&', after));
        out.push(char);
        rest = after;
    }
    out + rest
}

fn entity_char(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

/// What ends a URL in a text.
const ENDS: [char; 14] = ['"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', ',', ';', '='];

/// The text with `...` in place of whatever stands before the `@` of a URL or of a login like `scott/tiger@db`.
pub fn without_userinfo(text: &str, instead: &str) -> String {
    let ends = |char: char| char.is_whitespace() || ENDS.contains(&char);
    let one = |word: &str| {
        let login = userinfo(word.trim_end_matches(ends));
        let cleaned = login.map(|login| {
            let rest = word.get(login.end..).unwrap_or_default();
            format!("{}{instead}{rest}", word.get(..login.start).unwrap_or_default())
        });
        cleaned.unwrap_or_else(|| word.to_owned())
    };
    text.split_inclusive(ends).map(one).collect()
}

/// Whether a URL says who logs in, before an `@`.
pub fn has_userinfo(url: &str) -> bool {
    userinfo(url).is_some()
}

/// Where the login stands in a word.
fn userinfo(word: &str) -> Option<std::ops::Range<usize>> {
    let end = word.rfind('@')?;
    let before = word.get(..end)?;
    let start = if let Some(authority) = before.find("://") {
        authority + "://".len()
    } else if let Some(jdbc) = before.find("jdbc:") {
        // Oracle's: jdbc:oracle:thin:scott/tiger@//host:1521/service.
        let mut colons = before.match_indices(':').filter(|(at, _)| *at > jdbc);
        colons.nth(2).map_or(end, |(at, _)| at + 1)
    } else {
        let image = word.get(end..)?.starts_with("@sha256:");
        let (user, password) = before.split_once('/')?;
        let is_login = !image && !user.is_empty() && !password.contains('/');
        if is_login { 0 } else { end }
    };
    // Oracle's `/@` and `@` take the login from elsewhere; `tcp:///10.0.0.1:4711@61616` is how a broker
    // names a connection.
    let login = before.get(start..)?;
    (!login.is_empty() && !login.starts_with('/')).then_some(start..end)
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
