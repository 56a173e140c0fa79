//! When brokers may be replaced: the windows of `spec.update.windows`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, civil, tz::TimeZone};

use crate::api::v1alpha1::{UpdateWindow, Weekday};

/// A window may have opened so many days ago and still be open, and a weekly one opens again within so
/// many.
const DAYS: i64 = 8;

/// Whether brokers that do their part may be replaced now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// At any time: there are no windows.
    Always,
    /// A window is open.
    Open,
    /// None is.
    Closed {
        /// When the next one opens.
        opens: Option<Timestamp>,
    },
}

impl Window {
    /// Whether brokers that do their part may be replaced.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}

/// What is wrong with a window, if something is.
pub fn problem(window: &UpdateWindow) -> Option<String> {
    if TimeZone::get(&window.time_zone).is_err() {
        return Some(format!(
            "{} is no time zone; write one like Europe/Berlin, or UTC",
            window.time_zone
        ));
    }
    start(window)
        .is_none()
        .then(|| format!("{} is no time of day; write one like 22:30", window.start))
}

/// Whether a window is open now, and otherwise when the next one opens. One that makes no sense never
/// does: validation has refused it.
pub fn now(windows: &[UpdateWindow], now: Timestamp) -> Window {
    if windows.is_empty() {
        return Window::Always;
    }
    let times = || windows.iter().flat_map(|window| openings(window, now));
    if times().any(|(opens, closes)| opens <= now && now < closes) {
        return Window::Open;
    }
    Window::Closed { opens: times().map(|(opens, _)| opens).filter(|opens| *opens > now).min() }
}

fn start(window: &UpdateWindow) -> Option<civil::Time> {
    civil::Time::strptime("%H:%M", &window.start).ok()
}

/// When it opens and closes, in the days around now.
fn openings(window: &UpdateWindow, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let (Some(start), Ok(zone)) = (start(window), TimeZone::get(&window.time_zone)) else {
        return Vec::new();
    };
    let lasts = SignedDuration::try_from(Duration::from(window.duration)).unwrap_or_default();
    let today = now.to_zoned(zone.clone()).date();
    (-DAYS..=DAYS)
        .filter_map(|days| today.checked_add(days.days()).ok())
        .filter(|date| window.days.is_empty() || window.days.iter().any(|day| is(*day, *date)))
        // A time that the clocks skip that day is the one after the gap.
        .filter_map(|date| date.to_datetime(start).to_zoned(zone.clone()).ok())
        .filter_map(|opens: Zoned| {
            let opens = opens.timestamp();
            Some((opens, opens.checked_add(lasts).ok()?))
        })
        .collect()
}

fn is(day: Weekday, date: civil::Date) -> bool {
    let day = match day {
        Weekday::Monday => civil::Weekday::Monday,
        Weekday::Tuesday => civil::Weekday::Tuesday,
        Weekday::Wednesday => civil::Weekday::Wednesday,
        Weekday::Thursday => civil::Weekday::Thursday,
        Weekday::Friday => civil::Weekday::Friday,
        Weekday::Saturday => civil::Weekday::Saturday,
        Weekday::Sunday => civil::Weekday::Sunday,
    };
    date.weekday() == day
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(text: &str) -> UpdateWindow {
        serde_saphyr::from_str(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The 24th of November 2026 is a Tuesday; Berlin is one hour ahead of UTC, in summer two.
    #[test]
    fn windows_open_and_close() {
        let nightly = "{start: '22:30', duration: 4h}";
        let weekend =
            "{days: [Saturday, Sunday], start: '01:00', duration: 2h, timeZone: Europe/Berlin}";
        let opens = |text: &str| Window::Closed { opens: Some(at(text)) };
        for (text, now_, expected) in [
            (nightly, "2026-11-24T22:29:59Z", opens("2026-11-24T22:30:00Z")),
            (nightly, "2026-11-24T22:30:00Z", Window::Open),
            (nightly, "2026-11-25T02:29:59Z", Window::Open),
            (nightly, "2026-11-25T02:30:00Z", opens("2026-11-25T22:30:00Z")),
            (weekend, "2026-11-24T00:30:00Z", opens("2026-11-28T00:00:00Z")),
            (weekend, "2026-11-29T01:59:59Z", Window::Open),
            (weekend, "2026-11-29T02:00:00Z", opens("2026-12-05T00:00:00Z")),
            (weekend, "2026-07-04T00:59:00Z", Window::Open),
            // The clocks go from 02:00 to 03:00 that night.
            (
                "{start: '02:30', duration: 10m, timeZone: Europe/Berlin}",
                "2026-03-29T01:35:00Z",
                Window::Open,
            ),
            (
                "{days: [Monday], start: '00:00', duration: 168h}",
                "2026-11-29T23:59:59Z",
                Window::Open,
            ),
        ] {
            assert_eq!(now(&[window(text)], at(now_)), expected, "{text} at {now_}");
        }
        assert_eq!(now(&[], at("2026-11-24T00:00:00Z")), Window::Always);
        let both = [window(nightly), window(weekend)];
        assert_eq!(now(&both, at("2026-11-28T00:30:00Z")), Window::Open);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let problem = |text: &str| problem(&window(text));
        assert_eq!(problem("{start: '22:30', duration: 4h, timeZone: Europe/Berlin}"), None);
        let zone = problem("{start: '22:30', duration: 4h, timeZone: Mars/Olympus}").unwrap();
        assert!(zone.contains("Mars/Olympus is no time zone"), "{zone}");
        let start = problem("{start: 'noon', duration: 4h}").unwrap();
        assert!(start.contains("noon is no time of day"), "{start}");
    }

    proptest! {
        /// When one is said to open, it is open.
        #[test]
        fn a_window_opens_when_it_is_said_to(
            second in 1_700_000_000..1_900_000_000_i64,
            hour in 0..24_u8,
            minutes in 1..3000_u32,
            sunday in any::<bool>(),
        ) {
            let days = if sunday { "days: [Sunday], " } else { "" };
            let text = format!("{{{days}start: '{hour:02}:15', duration: {minutes}m, timeZone: America/New_York}}");
            let windows = [window(&text)];
            let moment = Timestamp::from_second(second).unwrap();
            match now(&windows, moment) {
                Window::Closed { opens } => {
                    let opens = opens.expect("it opens every week");
                    prop_assert!(opens > moment && now(&windows, opens) == Window::Open);
                }
                Window::Open => {}
                Window::Always => prop_assert!(false, "there is a window"),
            }
        }
    }
}
