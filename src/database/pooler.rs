//! Whether a session of ours is one session of the server's.
//!
//! A pooler that shares the server's sessions between clients undoes all that the lease rests on: a
//! session's settings and locks stay behind on a session that other clients get, and the name that a
//! broker's session bears is no longer its own. So it is found out before anything is set or locked.
//!
//! A server tells the session's number at login (PostgreSQL: `BackendKeyData`; MySQL and MariaDB: the
//! handshake), and again when asked. Whoever answers in a server's place makes numbers up, because a
//! server's session is not chosen yet or serves several clients: `PgBouncer` 1.18 sends random ones. Equal
//! numbers prove that nobody is in between, in the round trip that is needed anyway. Different ones are
//! no harm by themselves: a pooler that keeps one session of the server's for each client is as good as
//! none. [`examine`] tells them apart.

use crate::database::problem::Failure;
use crate::database::session::Server;

/// What is known of the way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The session is the server's own, or one of the server's is kept for it.
    Own,
    /// Statements of one client land in different sessions of the server's, or those of several clients
    /// in one. Why that is certain.
    Shared(String),
    /// Somebody is in between, and it was not found out what he does with sessions. Why.
    Unknown(String),
}

/// How often the two clients take turns. Other clients of a pooler may hide what it does for a moment.
const ROUNDS: usize = 8;

/// In which of the server's sessions transactions of two clients ran.
#[derive(Debug, Default)]
struct Landed {
    /// The first client's, one after the other.
    first: Vec<i64>,
    /// The second client's, each while the first client had none open.
    second: Vec<i64>,
}

impl Landed {
    /// Why it is certain that sessions are shared, if it is. A pooler gives the session that was used
    /// last to whoever comes next (`PgBouncer`'s default): then the second client gets the first one's. Or
    /// it takes them in turn: then the first client's change.
    fn shared(&self) -> Option<String> {
        let one = self.first.first()?;
        if let Some(other) = self.first.iter().find(|session| *session != one) {
            return Some(format!(
                "transactions of one client ran in the server's sessions {one} and {other}"
            ));
        }
        let both = self.second.contains(one);
        both.then(|| format!("transactions of two clients ran in the server's session {one}"))
    }
}

/// Finds out what somebody in between does with sessions. Sets nothing and locks nothing.
pub async fn examine(
    first: &mut Server,
    login: impl Future<Output = Result<Server, Failure>>,
) -> Way {
    let mut landed = Landed::default();
    let asked = land(first, login, &mut landed).await;
    match (landed.shared(), asked) {
        (Some(why), _) => Way::Shared(why),
        (None, Ok(())) => Way::Own,
        // PgBouncer in statement mode: transactions may not be begun.
        (None, Err(Failure::Server { code, message })) if code == "08P01" => {
            Way::Shared(format!("it refuses transactions: {message}"))
        }
        (None, Err(failure)) => Way::Unknown(failure.words()),
    }
}

async fn land(
    first: &mut Server,
    login: impl Future<Output = Result<Server, Failure>>,
    landed: &mut Landed,
) -> Result<(), Failure> {
    for _ in 0..2 {
        landed.first.push(first.number().await?);
    }
    let mut other = login.await?;
    for _ in 0..ROUNDS {
        other.rows("BEGIN").await?;
        landed.second.push(other.number().await?);
        // A pool of one session would keep the first client waiting.
        if landed.shared().is_some() {
            break;
        }
        landed.first.push(first.number().await?);
        other.rows("ROLLBACK").await?;
    }
    other.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A pool of `sessions`, given out from the front or in turn; other clients have some of them while
    /// each transaction begins.
    fn through_a_pool(sessions: usize, in_turn: bool, busy: &[usize]) -> Option<String> {
        let mut idle: VecDeque<i64> = (1..=i64::try_from(sessions).unwrap()).collect();
        let mut busy = busy.iter().copied().cycle();
        let mut landed = Landed::default();
        let back = |idle: &mut VecDeque<i64>, session| {
            if in_turn { idle.push_back(session) } else { idle.push_front(session) }
        };
        let mut transaction = |idle: &mut VecDeque<i64>| {
            let others = busy.next().unwrap().min(idle.len().saturating_sub(1));
            let taken: Vec<i64> = idle.drain(..others).collect();
            let session = idle.pop_front().unwrap();
            taken.into_iter().rev().for_each(|session| idle.push_front(session));
            session
        };
        for _ in 0..2 {
            let session = transaction(&mut idle);
            landed.first.push(session);
            back(&mut idle, session);
        }
        for _ in 0..ROUNDS {
            let held = transaction(&mut idle);
            landed.second.push(held);
            if landed.shared().is_some() {
                break;
            }
            let session = transaction(&mut idle);
            landed.first.push(session);
            back(&mut idle, session);
            back(&mut idle, held);
        }
        landed.shared()
    }

    #[test]
    fn one_session_for_each_client_is_as_good_as_none_in_between() {
        let landed = Landed { first: vec![7; 10], second: vec![8; 8] };
        assert_eq!(landed.shared(), None);
        assert_eq!(Landed::default().shared(), None);
    }

    proptest! {
        #[test]
        fn a_pool_that_nobody_else_uses_is_told(sessions in 1_usize..30, in_turn: bool) {
            prop_assert!(through_a_pool(sessions, in_turn, &[0]).is_some());
        }

        #[test]
        fn two_clients_in_one_session_are_told(
            first in prop::collection::vec(1_i64..4, 1..9),
            second in prop::collection::vec(1_i64..4, 0..9),
        ) {
            let apart = second.iter().all(|session| !first.contains(session));
            let same = first.iter().all(|session| *session == first[0]);
            let told = Landed { first, second }.shared().is_some();
            prop_assert_eq!(told, !(apart && same));
        }
    }
}
