//! Whose tables they are. Two groups on the same tables would take messages from each other.

use crate::broker::settings::GroupIdentity;
use crate::database::facts::{Fact, Facts};
use crate::database::look;
use crate::database::problem::Failure;
use crate::database::session::Session;
use crate::database::sql::Sql;

/// Whose the tables are, as against ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// Ours already.
    Ours,
    /// Nobody's, or those of an earlier cluster of our name of which nothing is left: they become ours.
    Take,
    /// Of an earlier cluster of our name, of which a broker may still run.
    Wait,
    /// Of a cluster of another name. A person decides.
    Refuse,
}

/// What is left of a former owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// Whether somebody's lease runs.
    lease: bool,
    /// Sessions of its brokers.
    sessions: usize,
}

/// A `BrokerCluster` that was deleted and made again has another uid. So has one of the same name in
/// another Kubernetes cluster, which may stand ready for a disaster: it may begin only when nothing of the
/// former one is left. From then on the former one's brokers obtain nothing.
fn judge(recorded: Option<&str>, ours: &GroupIdentity, left: Left) -> Claim {
    let Some(recorded) = recorded else { return Claim::Take };
    if recorded == ours.in_words() {
        return Claim::Ours;
    }
    let name = recorded.rsplit_once('/').map(|(name, _)| name);
    if name != Some(format!("{}/{}", ours.namespace, ours.name).as_str()) {
        return Claim::Refuse;
    }
    if left.lease || left.sessions > 0 { Claim::Wait } else { Claim::Take }
}

/// Sees to it that the tables are this group's, or says whose they are. Only one agent at a time asks.
pub async fn claim(session: &mut Session, sql: &Sql, ours: &GroupIdentity) -> Result<(), Failure> {
    let facts = Facts::read(session, sql).await?;
    let recorded = facts.value(Fact::Group);
    let left = left(session, sql, ours).await?;
    match judge(recorded, ours, left) {
        Claim::Ours => Ok(()),
        Claim::Take => Facts::put(session, sql, Fact::Group, &ours.in_words()).await,
        Claim::Wait => Err(Failure::FormerGroup {
            group: recorded.unwrap_or_default().to_owned(),
            sessions: left.sessions,
        }),
        Claim::Refuse => Err(Failure::OtherGroup(recorded.unwrap_or_default().to_owned())),
    }
}

async fn left(session: &mut Session, sql: &Sql, ours: &GroupIdentity) -> Result<Left, Failure> {
    let row = look::read(session, sql).await?;
    let lease = row.is_some_and(|row| row.runs() && row.holder.is_some() && row.nobody.is_none());
    let sessions = crate::database::ending::brokers(session, sql, &ours.name).await?;
    Ok(Left { lease, sessions })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours() -> GroupIdentity {
        let text = |text: &str| text.to_owned();
        GroupIdentity { namespace: text("shop"), name: text("orders"), uid: text("1-a") }
    }

    #[test]
    fn a_cluster_made_again_waits_for_the_former_one_and_another_one_is_refused() {
        let gone = Left { lease: false, sessions: 0 };
        for (recorded, left, wanted) in [
            (None, gone, Claim::Take),
            (Some("shop/orders/1-a"), Left { lease: true, sessions: 4 }, Claim::Ours),
            (Some("shop/orders/2-b"), gone, Claim::Take),
            (Some("shop/orders/2-b"), Left { lease: true, ..gone }, Claim::Wait),
            (Some("shop/orders/2-b"), Left { sessions: 1, ..gone }, Claim::Wait),
            (Some("shop/bills/2-b"), gone, Claim::Refuse),
            (Some("other/orders/1-a"), gone, Claim::Refuse),
            (Some(""), gone, Claim::Refuse),
        ] {
            assert_eq!(judge(recorded, &ours(), left), wanted, "{recorded:?} {left:?}");
        }
    }

    proptest! {
        #[test]
        fn tables_of_others_are_taken_only_when_nothing_is_left(
            recorded in "(shop|other)/(orders|bills)/(1-a|2-b)", lease: bool, sessions in 0_usize..3,
        ) {
            let left = Left { lease, sessions };
            if judge(Some(&recorded), &ours(), left) == Claim::Take {
                prop_assert_eq!(recorded, "shop/orders/2-b");
                prop_assert!(!lease && sessions == 0);
            }
        }
    }
}
