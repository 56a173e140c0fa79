//! Which version of ActiveMQ Classic may follow which other one on the same store.
//!
//! A store outlives its brokers, so a change of version is a change of who reads it. All versions of the
//! tested matrix write the same: version 7 of KahaDB, with the same kinds of records and messages in version 11
//! of OpenWire, or the same tables by the same SQL. Each was seen to hand out every message that each other had
//! stored (`e2e::versions_side_by_side`, also in a database): within the matrix versions may go up and down (docs/decisions/0018).

use crate::api::v1alpha1::VERSIONS;

/// Whether a group may change from one version to another, on either store.
///
/// # Errors
/// Why it may not, and what to do: for people.
pub fn change(from: &str, to: &str) -> Result<(), String> {
    let tested = |version: &str| VERSIONS.contains(&version);
    if from == to || (tested(from) && tested(to)) {
        return Ok(());
    }
    let matrix = VERSIONS.join(", ");
    let remedy = format!("choose one of {matrix}, or keep {from}");
    if !tested(to) {
        return Err(format!(
            "broker.version: {to} is not one of the tested versions, and what it does to a store of {from} is \
             not known; {remedy}"
        ));
    }
    Err(format!(
        "broker.version: whether {to} reads all that {from} has stored is not known, because {from} is not one \
         of the tested versions; {remedy}, or give a new cluster a store of its own and let clients empty this one"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn within_the_matrix_versions_go_up_and_down() {
        for from in VERSIONS {
            for to in VERSIONS {
                assert_eq!(change(from, to), Ok(()));
            }
        }
    }

    proptest! {
        #[test]
        fn a_refusal_names_the_field_both_versions_and_the_remedy(
            other in "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]{1,2}", tested in 0..VERSIONS.len(), down: bool,
        ) {
            prop_assume!(!VERSIONS.contains(&other.as_str()));
            let known = VERSIONS.get(tested).copied().unwrap_or_default();
            let (from, to) = if down { (other.as_str(), known) } else { (known, other.as_str()) };
            let text = change(from, to).unwrap_err();
            prop_assert!(text.starts_with("broker.version: "), "{text}");
            prop_assert!(text.contains(from) && text.contains(to) && text.contains("choose one of"), "{text}");
        }

        #[test]
        fn no_change_is_none(version in ".*") {
            prop_assert_eq!(change(&version, &version), Ok(()));
        }
    }
}
