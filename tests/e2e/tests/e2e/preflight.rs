//! Volumes that are no place for a store: refused before a broker is started on them.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context as _, Result, ensure};
use e2e::{Group, Lab, group::LIMIT, wait};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;
use tokio::time::Instant;

use crate::Outcome;

/// Each is told with its reason, no broker is started, and a volume that is put right is enough.
pub async fn refused(lab: &Lab) -> Outcome {
    let different = different_directories(lab).await?;
    let unwritable = unwritable(lab).await?;
    Ok(format!("different directories told after {different}; unwritable after {unwritable}"))
}

/// Every node has a directory of its own under the same path.
async fn different_directories(lab: &Lab) -> Result<String> {
    let group = Group::prepare(lab, "e2e-different-stores").await?;
    let directory = group.store_directory()?;
    for node in [1, 2] {
        let mut mount = lab.bed.node(node)?.command("mount")?;
        mount.args(["-t", "tmpfs", "-o", "size=64m,mode=0777", "tmpfs"]).arg(&directory);
        testbed::shell::run(&mut mount)?;
    }
    let told = expect(&group, "DifferentStores").await?;
    // With consent brokers are started on it all the same, and it is said what is wrong.
    group.edit(&json!({"storage": {"sharedVolume": {"preflight": "Warn"}}})).await?;
    group.await_condition("StorageLockVerified", "False", "started all the same").await?;
    for pod in ["orders-0", "orders-1"] {
        wait::until(&format!("a broker in {pod}"), LIMIT, async || {
            let report = group.report(pod).await?;
            // Two brokers on two stores are a split brain: one of them may have been killed again.
            let started = report.child.is_some() || report.last_exit.is_some();
            Ok(started.then_some(()).ok_or_else(|| format!("{report:?}")))
        })
        .await?;
    }
    group.remove().await?;
    for node in [1, 2] {
        let mut unmount = lab.bed.node(node)?.command("umount")?;
        testbed::shell::run(unmount.arg("--lazy").arg(&directory))?;
    }
    Ok(told)
}

/// The volume's directory is somebody else's.
async fn unwritable(lab: &Lab) -> Result<String> {
    let group = Group::prepare(lab, "e2e-unwritable").await?;
    let directory = group.store_directory()?;
    let mode = |mode| std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode));
    mode(0o755)?;
    let told = expect(&group, "NotWritable").await?;
    // The directory is right now, but has a store of somebody else.
    let store = directory.join("kahadb");
    std::fs::create_dir(&store)?;
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777))?;
    std::fs::File::create(store.join("lock"))?;
    mode(0o777)?;
    group.await_condition("StorageLockVerified", "False", "/store/kahadb/lock").await?;
    std::fs::remove_dir_all(&store)?;
    group.await_complete().await?;
    let message = group.await_condition("StorageLockVerified", "True", "LockVerified").await?;
    let lock = group.status().await?.lock.context("no lock in the status")?;
    ensure!(lock.verified == Some(true), "{lock:?}");
    ensure!(lock.release_millis.is_some() && lock.visible_millis.is_some(), "{lock:?}");
    group.remove().await?;
    Ok(format!("{told}; then: {message}"))
}

/// Applies the group and waits until the reason is told; no broker runs then.
async fn expect(group: &Group<'_>, reason: &str) -> Result<String> {
    let begun = Instant::now();
    group.apply(&json!({})).await?;
    let message = group.await_condition("StorageLockVerified", "False", reason).await?;
    let told = begun.elapsed();
    for pod in group.pods().list(&ListParams::default()).await?.items {
        // One agent is enough to tell; the other one may not be up yet.
        let pod = pod.name_any();
        let what = format!("the agent of {pod} answers");
        let report = wait::until(&what, LIMIT, async || Ok(Ok(group.report(&pod).await?))).await?;
        ensure!(report.child.is_none(), "{pod} has a broker: {message}");
    }
    ensure!(group.status().await?.lock.is_some_and(|lock| lock.verified == Some(false)));
    Ok(format!("{:.1} s", told.as_secs_f64()))
}
