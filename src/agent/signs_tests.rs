use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn write(path: &Path, text: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text).unwrap();
}

#[tokio::test]
async fn words_come_through_in_order_and_in_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signs");
    let mut signs = Signs::open(&path).unwrap();
    assert_eq!(signs.take(), None);
    write(&path, b"waits\ntak");
    assert_eq!(signs.next().await, LogSign::Waits);
    assert_eq!(signs.take(), None);
    write(&path, b"es\nlock-lost\nstorage-failed\n");
    assert_eq!(signs.next().await, LogSign::Takes);
    assert_eq!(signs.take(), Some(LogSign::LockLost));
    assert_eq!(signs.take(), Some(LogSign::StorageFailed));
    assert_eq!(signs.take(), None);
}

#[tokio::test]
async fn nothing_of_an_earlier_process_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signs");
    let earlier = Signs::open(&path).unwrap();
    let mut descendant = fs::OpenOptions::new().write(true).open(&path).unwrap();
    descendant.write_all(b"lock-lost\n").unwrap();
    let mut signs = Signs::open(&path).unwrap();
    descendant.write_all(b"lock-lost\n").unwrap();
    drop(earlier);
    write(&path, b"waits\n");
    assert_eq!(signs.next().await, LogSign::Waits);
    assert_eq!(signs.take(), None);
}

#[tokio::test]
async fn what_has_the_path_is_replaced_unless_it_is_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("signs");
    fs::write(&path, "lock-lost\n").unwrap();
    assert_eq!(Signs::open(&path).unwrap().take(), None);
    assert!(Signs::open(directory.path()).is_err());
    assert!(Signs::open(&path.join("below")).is_err());
}

proptest! {
    /// Only a whole line that is a word is a sign, wherever the pieces begin.
    #[test]
    fn a_sign_is_a_whole_line_and_nothing_else(
        lines in prop::collection::vec(hostile(), 0..20), piece in 1_usize..50
    ) {
        let text = lines.concat();
        let mut reader = Lines::default();
        let signs: Vec<_> = text.chunks(piece).flat_map(|piece| reader.feed(piece)).collect();
        let whole = text.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
        prop_assert_eq!(signs, whole.filter_map(LogSign::parse).collect::<Vec<_>>());
        prop_assert!(reader.line.len() <= LONGEST_LINE);
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let word =
        prop::sample::select(LogSign::ALL.map(|sign| sign.as_str().as_bytes().to_vec()).to_vec());
    prop_oneof![
        word,
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b" ".to_vec()),
        Just(
            b"x, no longer able to keep the exclusive lock so giving up being a master\n".to_vec()
        ),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}
