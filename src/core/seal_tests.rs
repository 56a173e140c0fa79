use proptest::prelude::*;
use serde_json::json;

use super::*;

const LOGIN: &[u8] = b"bXE=\0b25l";
const OTHER: &[u8] = b"bXE=\0dHdv";

fn mark(seal: &Seal, credentials: &[u8], applied: Option<&str>) -> String {
    seal.mark(&seal.hash(credentials), applied)
}

#[test]
fn a_mark_changes_with_the_credentials_and_cannot_be_made_without_the_key() {
    let seal = Seal::new([7; 32], LOGIN, None);
    let first = mark(&seal, LOGIN, None);
    assert_eq!(first, mark(&seal, LOGIN, Some(&first)));
    assert_ne!(first, mark(&seal, OTHER, Some(&first)));
    assert_ne!(first, mark(&Seal::new([8; 32], LOGIN, None), LOGIN, None));
    assert!(!first.contains(&short_hash(LOGIN)));
}

/// An update of the operator restarts no broker: the plain hash stays until the pods change anyway.
#[test]
fn a_plain_hash_stays_while_credentials_and_spec_stay() {
    let plain = short_hash(LOGIN);
    let seal = Seal::new([7; 32], LOGIN, Some(&plain));
    assert_eq!(mark(&seal, LOGIN, Some(&plain)), plain);
    assert!(mark(&seal, OTHER, Some(&plain)).starts_with(PREFIX));
    assert!(mark(&seal, LOGIN, None).starts_with(PREFIX), "the spec changed");
    // They changed while no operator ran.
    let late = Seal::new([7; 32], OTHER, Some(&plain));
    assert!(mark(&late, OTHER, Some(&plain)).starts_with(PREFIX));
}

#[test]
fn a_lost_key_changes_no_mark_and_later_credentials_do() {
    let before = mark(&Seal::new([7; 32], LOGIN, None), LOGIN, None);
    let seal = Seal::new([8; 32], LOGIN, Some(&before));
    assert_eq!(mark(&seal, LOGIN, Some(&before)), before);
    assert_ne!(mark(&seal, OTHER, Some(&before)), before);
}

#[test]
fn a_secret_without_a_key_holds_no_seal() {
    for secret in [json!({}), json!({"data": {}}), json!({"data": {"key": ""}}), json!({"data": 1})]
    {
        assert_eq!(Seal::of(&secret), None, "{secret}");
    }
}

#[test]
fn debugging_shows_no_key() {
    let shown = format!("{:?}", Seal::new([7; 32], LOGIN, Some("k0123456789")));
    assert!(!shown.contains("7, 7") && shown.contains("k0123456789"), "{shown}");
}

proptest! {
    #[test]
    fn a_seal_is_read_as_it_was_written(
        key in any::<[u8; 32]>(), login in any::<Vec<u8>>(), applied in prop::option::of("k[0-9a-f]{10}"),
    ) {
        let seal = Seal::new(key, &login, applied.as_deref());
        let secret = Secret { data: Some(seal.data()), ..Secret::default() };
        let read = Seal::of(&serde_json::to_value(secret).unwrap()).unwrap();
        prop_assert_eq!(&read, &seal);
        prop_assert_eq!(mark(&read, &login, applied.as_deref()), mark(&seal, &login, applied.as_deref()));
    }
}
