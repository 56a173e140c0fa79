use std::os::unix::fs::PermissionsExt as _;

use super::*;

const CERTIFICATE: &str = include_str!("../../tests/support/certificate.pem");

fn preparer(directory: &Path) -> Preparer {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    fs::write(path("username"), "scott\n").unwrap();
    fs::write(path("password"), "ti${g}e:r \u{e4}\n").unwrap();
    let access = DatabaseAccess {
        username: path("username"),
        password: path("password"),
        properties: path("database.properties"),
        driver_class: "org.example.Driver".to_owned(),
        driver_directories: vec![path("drivers")],
        keystore: Some(path("ca.p12")),
    };
    let authority = Some(directory.join("ca.crt"));
    Preparer { access, database: None, authority, kept: Kept::default() }
}

#[test]
fn a_broker_gets_its_login_and_its_holder_id_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let preparer = preparer(directory.path());
    for (holder, create) in [("orders-0.01234567.00000001", true), ("other", false)] {
        let database = Prepared {
            create_tables: create,
            obtain_if: "(SELECT 1)=1".to_owned(),
            ..Prepared::default()
        };
        preparer.write_properties(holder, &database).unwrap();
        let path = &preparer.access.properties;
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            format!(
                "holder={holder}\nusername=scott\npassword=ti${{g}}e\\:r\\ \\u00E4\n\
                 createTables={create}\nobtainIf=(SELECT\\ 1)\\=1\n"
            )
        );
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_secret_without_a_key_is_told_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let preparer = preparer(directory.path());
    fs::write(&preparer.access.password, "\n").unwrap();
    let error = preparer.write_properties("h", &Prepared::default()).unwrap_err();
    assert!(format!("{error:#}").ends_with("password is empty: the Secret must have this key"));
    fs::remove_file(&preparer.access.username).unwrap();
    let error = preparer.write_properties("h", &Prepared::default()).unwrap_err();
    assert!(format!("{error:#}").contains("cannot read"), "{error:#}");
}

#[tokio::test]
async fn without_a_driver_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let preparer = preparer(directory.path());
    let problem = preparer.clone().prepare("h".to_owned()).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::DriverMissing);
    assert!(!Path::new(&preparer.access.properties).exists());
}

#[test]
fn each_certificate_of_a_file_is_a_text_of_its_own() {
    let two = format!("# a comment\n{CERTIFICATE}\n# another\n{CERTIFICATE}");
    let found = certificates(&two);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|one| one.trim() == CERTIFICATE.trim()));
    assert_eq!(certificates("-----BEGIN CERTIFICATE-----\nhalf of one"), Vec::<String>::new());
}

#[tokio::test]
async fn a_keystore_is_made_once_of_all_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let preparer = preparer(directory.path());
    if std::process::Command::new(program("keytool")).arg("-help").output().is_err() {
        eprintln!("skipped: no keytool here");
        return;
    }
    let authority = directory.path().join("ca.crt");
    fs::write(&authority, format!("{CERTIFICATE}{CERTIFICATE}")).unwrap();
    let keystore = directory.path().join("ca.p12");
    preparer.make_keystore(&keystore, &authority).await.unwrap();
    let made = fs::read(&keystore).unwrap();
    preparer.make_keystore(&keystore, &authority).await.unwrap();
    assert_eq!(fs::read(&keystore).unwrap(), made, "not made again");
    assert!(!keystore.with_extension("pem").exists());
    fs::write(&authority, "no certificate").unwrap();
    assert!(preparer.make_keystore(&keystore, &authority).await.is_err());
}
