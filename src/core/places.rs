//! Where Tandem's own files are in a broker's container, and whether a path of the user's gets in their way.

use crate::broker::classic::paths;

/// Mounted in every pod, with everything below.
const MOUNTED: [&str; 6] =
    [paths::CONFIG, "/etc/tandem-auth", paths::LOGIN, paths::STORE, paths::AGENT, paths::SCRATCH];
/// Mounted too; what is below and not in [`MOUNTED`] is free.
const TEMPORARY: &str = "/tmp";

/// How a path stands to a directory of Tandem's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is that directory, or in it.
    Within(&'static str),
    /// That directory is in it.
    Around(&'static str),
}

/// The directory of Tandem's that this path is in, or that is in it. With a database, JDBC drivers have a
/// directory too.
///
/// A mount within would hide a part of what Tandem relies on: brokers that each lock a file of their own. One
/// around would put its own content where Tandem mounts nothing itself, such as the broker's installation.
pub fn place(path: &str, has_database: bool) -> Option<Place> {
    let path = components(path);
    let drivers = has_database.then_some(paths::DRIVERS);
    let mut mounted = MOUNTED.into_iter().chain(drivers);
    let within = mounted.clone().find(|ours| path.starts_with(&components(ours)));
    let around = mounted.find(|ours| components(ours).starts_with(&path));
    if let Some(ours) = within {
        return Some(Place::Within(ours));
    }
    if path == components(TEMPORARY) {
        return Some(Place::Within(TEMPORARY));
    }
    around.map(Place::Around)
}

/// As the container's runtime resolves it: relative paths begin at the root, and `/var/run` is a link to `/run`
/// in the official image.
fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    if parts.starts_with(&["var", "run"]) {
        parts.remove(0);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_their_components() {
        use Place::{Around, Within};
        for (path, wanted) in [
            ("/store", Some(Within("/store"))),
            ("/store/", Some(Within("/store"))),
            ("store", Some(Within("/store"))),
            ("//store//kahadb/", Some(Within("/store"))),
            ("/store/kahadb/lock", Some(Within("/store"))),
            ("/x/../store/kahadb", Some(Within("/store"))),
            ("/etc/tandem/activemq.xml", Some(Within("/etc/tandem"))),
            ("/etc/tandem-auth/admin", Some(Within("/etc/tandem-auth"))),
            ("/run/tandem", Some(Within("/run/tandem"))),
            ("/var/run/tandem/users.properties", Some(Within("/run/tandem"))),
            ("/opt/tandem/tandem", Some(Within("/opt/tandem"))),
            ("/opt/tandem-drivers/x", Some(Within("/opt/tandem-drivers"))),
            ("/tmp", Some(Within("/tmp"))),
            ("/tmp/activemq/data", Some(Within("/tmp/activemq"))),
            ("/etc", Some(Around("/etc/tandem"))),
            ("/var/run", Some(Around("/run/tandem"))),
            ("/opt", Some(Around("/opt/tandem"))),
            ("/", Some(Around("/etc/tandem"))),
            ("/stores", None),
            ("/etc/tandem-extra", None),
            ("/tmp/dumps", None),
            ("/opt/apache-activemq/lib/extra", None),
            ("/var/log", None),
        ] {
            assert_eq!(place(path, true), wanted, "{path}");
        }
        assert_eq!(place("/opt/tandem-drivers", false), None);
    }
}
