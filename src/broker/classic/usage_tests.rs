use proptest::prelude::*;

use super::*;
use crate::broker::classic::fragment;

const OUR_TEMP: &str = r#"<tempUsage><tempUsage limit="2147483648"/></tempUsage>"#;

fn usage(xml: &str) -> Usage {
    fragment::parse(xml).unwrap().usage
}

fn whole(limits: &str) -> String {
    format!("<systemUsage><systemUsage>{limits}</systemUsage></systemUsage>")
}

#[test]
fn every_broker_has_all_limits() {
    for none in ["", "<systemUsage/>", "<systemUsage><systemUsage/></systemUsage>"] {
        assert_eq!(usage(none).render(true), whole(&format!("{MEMORY}{STORE}{OUR_TEMP}")));
        assert_eq!(usage(none).render(false), whole(&format!("{MEMORY}{OUR_TEMP}")));
        assert_eq!(usage(none).temp_bytes(), 2 << 30);
    }
}

#[test]
fn what_the_user_leaves_out_is_added_and_the_rest_stays_as_it_is() {
    let memory =
        r#"<memoryUsage><memoryUsage limit="64 mb" percentUsageMinDelta="5"/></memoryUsage>"#;
    let temp = r#"<tempUsage> <tempUsage limit="100 MB"/> </tempUsage>"#;
    let xml = format!(
        "<systemUsage>\n<!-- mine --><systemUsage sendFailIfNoSpace='true'>{temp}{memory}</systemUsage></systemUsage>"
    );
    let usage = usage(&xml);
    assert_eq!(
        usage.render(true),
        format!(
            r#"<systemUsage><systemUsage sendFailIfNoSpace="true">{memory}{STORE}{temp}</systemUsage></systemUsage>"#
        )
    );
    assert_eq!(usage.temp_bytes(), 100 << 20);
}

#[test]
fn what_cannot_be_completed_is_refused_with_a_remedy() {
    for (inner, remedy) in [
        (r#"<systemUsage limit="1"/>"#, "inner <systemUsage>"),
        ("<systemUsage><bean/></systemUsage>", "must contain one"),
        ("<systemUsage><systemUsage/><systemUsage/></systemUsage>", "must contain one"),
        (
            "<systemUsage><systemUsage memoryUsage='#other'/></systemUsage>",
            "write an element <memoryUsage>",
        ),
        ("<systemUsage><systemUsage xmlns='x'/></systemUsage>", "remove it"),
        ("<systemUsage><systemUsage><property/></systemUsage></systemUsage>", "remove it"),
    ] {
        let message = fragment::parse(inner).expect_err(inner);
        assert!(message.contains(remedy), "{inner}: {message}");
    }
    for (limit, what) in [
        ("<memoryUsage/>", "must contain one"),
        ("<memoryUsage><memoryUsage/></memoryUsage>", "sets no limit"),
        (r#"<memoryUsage limit="1 gb"/>"#, "must contain one"),
        (r#"<memoryUsage><memoryUsage limit="0"/></memoryUsage>"#, "limit=\"0\""),
        (r#"<memoryUsage><memoryUsage limit="${m}"/></memoryUsage>"#, "${m}"),
        (r#"<memoryUsage><memoryUsage percentOfJvmHeap="0"/></memoryUsage>"#, "from 1 to 100"),
        (r#"<memoryUsage><memoryUsage percentOfJvmHeap="170"/></memoryUsage>"#, "from 1 to 100"),
        (r#"<memoryUsage><memoryUsage usagePortion="0.5"/></memoryUsage>"#, "not allowed"),
        (r#"<memoryUsage><ref bean="other"/></memoryUsage>"#, "no plain"),
        (r"<memoryUsage><memoryUsage limit='1'><limiter/></memoryUsage></memoryUsage>", "no plain"),
        (r#"<storeUsage><storeUsage limit="0 mb"/></storeUsage>"#, "above 0"),
        (r#"<tempUsage><tempUsage percentLimit="50"/></tempUsage>"#, "node's disk"),
    ] {
        let xml = whole(limit);
        let message = fragment::parse(&xml).expect_err(limit);
        assert!(message.contains(what) && message.contains("remove <"), "{limit}: {message}");
    }
    let twice = whole(&[MEMORY, MEMORY].concat());
    assert!(fragment::parse(&twice).unwrap_err().contains("keep one"));
}

#[test]
fn sizes_are_read_as_the_broker_reads_them() {
    for (text, expected) in [
        ("5", Some(5)),
        (" 20 Mb ", Some(20 << 20)),
        ("1024kb", Some(1 << 20)),
        ("1g", Some(1 << 30)),
        ("7b", Some(7)),
        ("-1", None),
        ("1.5 gb", None),
        ("gb", None),
        ("", None),
        ("9223372036854775807 gb", None),
        ("9223372036854775808", None),
    ] {
        assert_eq!(bytes(text), expected, "{text}");
    }
}

/// A limit as somebody may write it, well or badly.
fn a_limit() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["memoryUsage", "storeUsage", "tempUsage", "other"]);
    let attribute = prop::sample::select(vec!["limit", "percentLimit", "percentOfJvmHeap", "name"]);
    let value = prop::sample::select(vec!["0", "64 mb", "1gb", "50", "101", "${x}", ""]);
    (name, attribute, value).prop_map(|(name, attribute, value)| {
        format!("<{name}><{name} {attribute}='{value}'/></{name}>")
    })
}

proptest! {
    /// Whatever is accepted becomes an element with every limit once, each above 0, which reads as itself.
    #[test]
    fn what_is_accepted_limits_everything(
        limits in prop::collection::vec(a_limit(), 0..4),
        on_volume: bool,
    ) {
        if let Ok(fragment) = fragment::parse(&whole(&limits.concat())) {
            let text = fragment.usage.render(on_volume);
            let again = fragment::parse(&text).unwrap().usage;
            prop_assert_eq!(&again.render(on_volume), &text);
            prop_assert_eq!(again.temp_bytes(), fragment.usage.temp_bytes());
            let wanted: &[&str] = if on_volume {
                &["memoryUsage", "storeUsage", "tempUsage"]
            } else {
                &["memoryUsage", "tempUsage"]
            };
            for name in wanted {
                prop_assert_eq!(again.limits.iter().filter(|limit| limit.name == *name).count(), 1);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(inner in "[<>/a-z!&;= '\"]{0,40}") {
        let _checked = fragment::parse(&whole(&inner)).is_ok();
    }
}
