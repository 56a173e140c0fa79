use super::*;
use proptest::prelude::*;

fn rendered(admin: (&str, &str), users: &[(&str, &str)]) -> (Files, Vec<String>) {
    let bytes =
        |(name, password): &(&str, &str)| (name.as_bytes().to_vec(), password.as_bytes().to_vec());
    render(bytes(&admin), users.iter().map(bytes).collect())
}

#[test]
fn users_and_admin_get_their_groups() {
    let (files, problems) = rendered(("root", "r"), &[("ann", "a"), ("bob", "b")]);
    assert_eq!(files.users, "ann=a\nbob=b\nroot=r\n");
    assert_eq!(files.groups, "users=ann,bob,root\nadmins=root\n");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_user_named_like_the_admin_does_not_get_in() {
    let (files, problems) = rendered(("root", "r"), &[("root", "mine")]);
    assert_eq!(files.users, "root=r\n");
    let told = "usersSecret: 1 left out: the administrator has the same name; take another one";
    assert_eq!(problems, [told]);
}

#[test]
fn what_cannot_be_a_login_is_left_out_with_a_reason_that_tells_no_name_and_no_password() {
    let users = [("ann", ""), ("b,c", "secret"), (" d", "secret"), ("eve", "e")];
    let (files, problems) = rendered(("ro,ot", ""), &users);
    assert_eq!(files.users, "eve=e\n");
    assert_eq!(files.groups, "users=eve\n");
    let odd = "the name has commas, outer blanks or control characters; take them out";
    let told = [
        format!("usersSecret: 2 left out: {odd}"),
        "usersSecret: 1 left out: the password is empty; set one".to_owned(),
        format!("adminSecret: left out: {odd}"),
    ];
    assert_eq!(problems, told);
    let (_, problems) = render((vec![0xff], vec![1]), [(b"f".to_vec(), vec![0xff])].into());
    assert_eq!(problems.len(), 2, "{problems:?}");
}

proptest! {
    /// Any Secret can be named, so nothing of one is told: what is said depends on kinds and counts only.
    #[test]
    fn what_is_said_of_logins_is_the_same_for_all_that_are_unfit_in_the_same_way(
        names in prop::collection::btree_set("[a-z0-9]{1,12},[a-z0-9]{1,12}", 3),
        password in "[a-z0-9]{1,12}",
    ) {
        let said = |names: &[String], password: &str| {
            let users = names[1..].iter().map(|name| (name.clone().into_bytes(), password.into()));
            render((names[0].clone().into_bytes(), password.into()), users.collect()).1
        };
        let names: Vec<String> = names.into_iter().collect();
        let others = ["x,1".to_owned(), "x,2".to_owned(), "x,3".to_owned()];
        prop_assert_eq!(said(&names, &password), said(&others, "y"));
    }
}

#[test]
fn java_s_special_characters_are_escaped() {
    let (files, _) = rendered(("a b", "p=:#! \\x\u{e9}\u{1f511}\t"), &[]);
    let wanted = "a\\ b=p\\=\\:\\#\\!\\ \\\\x\\u00E9\\uD83D\\uDD11\\u0009\n";
    assert_eq!(files.users, wanted);
}

/// Directories as the kubelet mounts them.
fn mounted() -> (tempfile::TempDir, Credentials) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("admin/username", "root"),
        ("admin/password", "r"),
        ("users/ann", "a"),
        ("users/..2026/ann", "a"),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir(root.path().join("out")).unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let settings = CredentialSettings {
        admin: path("admin"),
        users: Some(path("users")),
        output: path("out"),
    };
    (root, Credentials::new(settings))
}

#[test]
fn a_rotated_password_is_written_and_an_unchanged_one_is_not() {
    use std::os::unix::fs::MetadataExt as _;
    let (root, mut credentials) = mounted();
    let users = root.path().join("out/users.properties");
    assert_eq!(credentials.refresh(), None);
    assert_eq!(fs::read_to_string(&users).unwrap(), "ann=a\nroot=r\n");
    assert_eq!(fs::metadata(&users).unwrap().mode() & 0o777, 0o600);
    let before = fs::metadata(&users).unwrap().ino();
    assert_eq!(credentials.refresh(), None);
    assert_eq!(fs::metadata(&users).unwrap().ino(), before);
    fs::write(root.path().join("users/ann"), "rotated").unwrap();
    assert_eq!(credentials.refresh(), None);
    assert_eq!(fs::read_to_string(&users).unwrap(), "ann=rotated\nroot=r\n");
}

#[test]
fn a_missing_secret_is_a_problem_with_a_name() {
    let (root, mut credentials) = mounted();
    fs::remove_file(root.path().join("admin/password")).unwrap();
    let problem = credentials.refresh().unwrap();
    assert!(problem.contains("cannot read the credentials"), "{problem}");
}

#[test]
fn debugging_shows_no_password() {
    let (_root, mut credentials) = mounted();
    credentials.refresh();
    assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
}

/// `java.util.Properties.load` for one line, as its documentation describes it.
fn java_reads(line: &str) -> (String, String) {
    let mut units = (Vec::new(), Vec::new());
    let (mut in_value, mut chars) = (false, line.chars());
    while let Some(char) = chars.next() {
        let part = if in_value { &mut units.1 } else { &mut units.0 };
        match char {
            '\\' => match chars.next().unwrap() {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    part.push(u16::from_str_radix(&digits, 16).unwrap());
                }
                other => part.push(u16::try_from(u32::from(other)).unwrap()),
            },
            '=' if !in_value => in_value = true,
            other => part.push(u16::try_from(u32::from(other)).unwrap()),
        }
    }
    (String::from_utf16(&units.0).unwrap(), String::from_utf16(&units.1).unwrap())
}

proptest! {
    #[test]
    fn java_reads_what_was_meant(name in "\\PC{1,8}", password in any::<String>()) {
        let line = format!("{}={}", escaped(&name), escaped(&password));
        prop_assert!(line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        prop_assert_eq!(java_reads(&line), (name, password));
    }
}
