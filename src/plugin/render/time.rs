//! Times as people say them.

use jiff::{SignedDuration, Timestamp};

/// As kubectl shows ages: `42s`, `5m`, `3h`, `12d`.
pub fn age(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The age of a published time; `?` for one that cannot be read.
pub fn age_of(text: &str, now: Timestamp) -> String {
    text.parse::<Timestamp>().map_or_else(|_| "?".to_owned(), |at| age(now.duration_since(at)))
}

/// `0.84 s`
pub fn millis(millis: i64) -> String {
    format!("{}.{:02} s", millis / 1000, millis.unsigned_abs() % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(age(SignedDuration::from_secs(seconds)), text);
        }
        assert_eq!(age_of("soon", Timestamp::UNIX_EPOCH), "?");
    }

    #[test]
    fn outages_are_told_in_seconds() {
        for (given, text) in
            [(0, "0.00 s"), (845, "0.84 s"), (1_005, "1.00 s"), (61_230, "61.23 s")]
        {
            assert_eq!(millis(given), text);
        }
    }
}
