//! What the database keeps about itself in the table `TANDEM_STORE`, a row for each fact.

use crate::database::problem::Failure;
use crate::database::session::{Session, number, text};
use crate::database::sql::Sql;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Whose tables they are: a [`Group`](crate::database::group::Group).
    Group,
    /// The history of the server on which the lease may be obtained.
    History,
    /// Another one that was seen, and when.
    NextHistory,
}

impl Fact {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::History => "history",
            Self::NextHistory => "next-history",
        }
    }
}

/// All facts: name, value, and how many milliseconds ago it was written, by the server's clock.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<(String, String, i64)>);

impl Facts {
    /// As they are.
    pub async fn read(session: &mut Session, sql: &Sql) -> Result<Self, Failure> {
        let rows = session.rows(&sql.facts()).await?;
        let facts = rows.iter().map(|row| {
            let (name, value) = (text(row, 0), text(row, 1));
            Ok((name.unwrap_or_default(), value.unwrap_or_default(), number(row, 2)?))
        });
        Ok(Self(facts.collect::<Result<_, Failure>>()?))
    }

    /// A fact's value.
    pub fn value(&self, fact: Fact) -> Option<&str> {
        self.aged(fact).map(|(value, _)| value)
    }

    /// A fact's value, and how many milliseconds ago it was written.
    pub fn aged(&self, fact: Fact) -> Option<(&str, i64)> {
        let found = self.0.iter().find(|(name, ..)| name == fact.name());
        found.map(|(_, value, ago)| (value.as_str(), *ago))
    }

    /// Writes a fact. One that has this value already keeps its time.
    pub async fn put(
        session: &mut Session,
        sql: &Sql,
        fact: Fact,
        value: &str,
    ) -> Result<(), Failure> {
        let literal = Sql::fact_literal(value);
        let literal = literal.ok_or_else(|| Failure::answer(format!("a value of {value:?}")))?;
        session.run(&sql.first_fact(fact, &literal)).await?;
        session.run(&sql.change_fact(fact, &literal)).await
    }
}
