//! The second look at two claims: the same agents are asked one after the other, again and again, until
//! it is proven that both hold the lock, or seen that they do not.

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    core::{
        observed::{PodView, ReportView},
        split_brain::{Claim, Reading, claim, proven},
    },
    reports::Reports,
};

/// How long the second look may take altogether. Agents look at their locks four times a second or more.
const LIMIT: Duration = Duration::from_secs(3);
/// From one round of questions to the next: some agent has looked again by then.
const PAUSE: Duration = Duration::from_millis(100);

/// The claims of these pods that are proven to be made at the same time, all asked for now; empty if
/// that is not proven.
pub(super) async fn confirm<R: Reports>(reports: &R, pods: &[PodView]) -> Vec<Claim> {
    let begun = Instant::now();
    let mut readings = Vec::new();
    while begun.elapsed() < LIMIT {
        let before = readings.len();
        for pod in pods {
            readings.extend(read(reports, pod, begun).await);
        }
        let claims = proven(&readings);
        if !claims.is_empty() || readings.len() < before + 2 {
            return claims;
        }
        sleep(PAUSE).await;
    }
    Vec::new()
}

async fn read<R: Reports>(reports: &R, pod: &PodView, begun: Instant) -> Option<Reading> {
    let address: IpAddr = pod.addresses.first()?.parse().ok()?;
    let asked = millis(begun);
    let ReportView::Fresh(report) = reports.report(address).await else { return None };
    let age = i64::try_from(report.lock.age_millis).unwrap_or(i64::MAX);
    let claim = claim(&report, &pod.uid)?;
    // Rounded so that the span is longer rather than shorter than in truth.
    Some(Reading {
        claim,
        from: asked.saturating_sub(age).saturating_sub(1),
        to: millis(begun) + 1,
    })
}

fn millis(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}
