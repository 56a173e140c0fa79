//! `report`: a support bundle.

use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;

use super::version;
use crate::{
    clock,
    core::lock::judge,
    plugin::{
        args::ReportArgs,
        cluster::Cluster,
        gather::{Session, bundle::Bundle, find, group},
        render::{lock, status, style::Style},
        screen::Screen,
    },
};

pub(super) async fn run(
    session: &Session,
    args: &ReportArgs,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let cluster = find::find(session, args.name.as_deref()).await?;
    let now = clock::now();
    let path = args.file.clone().unwrap_or_else(|| default_path(&cluster, now));
    // Before the work: a file that is there ends it.
    let mut file = create(&path, args.force)?;
    screen.note(&format!("reading what belongs to {}", cluster.name()));
    let bundle = gather(session, &cluster, args, now).await;
    let archive = pack(&bundle, &stem(&path), now)?;
    file.write_all(&archive).with_context(|| format!("cannot write {}", path.display()))?;
    screen.line(&format!("{} holds:", path.display()))?;
    for (name, content) in &bundle.files {
        screen.line(&format!("  {name} ({} bytes)", content.len()))?;
    }
    for problem in &bundle.unread {
        screen.line(&format!("not read: {problem}"))?;
    }
    Ok(screen.line(
        "It holds no Secret, and values of environment variables and passwords were taken out. Look \
         through it before you pass it on: messages of brokers may hold what you consider secret",
    )?)
}

async fn gather(session: &Session, cluster: &Cluster, args: &ReportArgs, now: Timestamp) -> Bundle {
    let name = cluster.name();
    let mut bundle = Bundle::default();
    bundle.add_object("brokercluster.yaml", cluster.0.clone());
    let record = group::record(session, &name).await;
    bundle.add("status.txt", status::page(cluster, &record, now, Style::default()));
    let pods = group::pods(session, &name).await.unwrap_or_else(|refused| {
        bundle.unread.push(refused.to_string());
        Vec::new()
    });
    let reports = group::reports(session, &pods).await;
    let observed = group::observed(&pods, &reports, &record);
    let verdict = &judge(&observed);
    let scene =
        lock::Scene { cluster, record: &record, reports: &reports, verdict, observed: &observed };
    bundle.add("lock.txt", lock::page(&scene, now, Style::default()));
    let operators = version::operators(session, args.operator_namespace.as_deref()).await;
    bundle.add("version.txt", version::page(&operators, &version::agents(&pods, &reports)));
    bundle.add_children(session, &name).await;
    bundle.add_pods(session, &pods).await;
    bundle.add_reports(&pods, &reports);
    bundle.add_events(session, &name).await;
    bundle.add_logs(session, &pods, args.log_lines).await;
    let unread = bundle.unread.join("\n");
    bundle.add("unread.txt", unread);
    bundle
}

fn default_path(cluster: &Cluster, now: Timestamp) -> PathBuf {
    let name = cluster.name();
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    format!("tandem-report-{}-{}-{time}.tar.gz", name.namespace, name.name).into()
}

/// The folder in the archive.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.trim_end_matches(".tar.gz").trim_end_matches(".tgz").to_owned()
}

/// For its owner only.
fn create(path: &Path, force: bool) -> anyhow::Result<std::fs::File> {
    let mut options = std::fs::File::options();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            anyhow::anyhow!("{} exists: name another file, or say --force", path.display())
        } else {
            anyhow::anyhow!("cannot write {}: {error}", path.display())
        }
    })
}

fn pack(bundle: &Bundle, folder: &str, now: Timestamp) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, content) in &bundle.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now.as_second()).unwrap_or_default());
        archive.append_data(&mut header, format!("{folder}/{path}"), content.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_packed_can_be_unpacked() {
        let mut bundle = Bundle::default();
        bundle.add("a/b.txt", "content");
        let packed = pack(&bundle, "folder", Timestamp::UNIX_EPOCH).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("folder/a/b.txt"));
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    }

    #[test]
    fn a_file_that_exists_is_written_over_only_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.tar.gz");
        drop(create(&path, false).unwrap());
        assert!(create(&path, false).unwrap_err().to_string().contains("--force"));
        drop(create(&path, true).unwrap());
        assert_eq!(stem(&path), "report");
    }
}
