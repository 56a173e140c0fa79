//! `testbed database`.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Subcommand;
use testbed::{Bed, Database, DatabaseKind};

/// What can be done with a database server.
#[derive(Subcommand)]
pub enum DatabaseAction {
    /// Make or start a server, heal it, and tell how to reach it.
    Up {
        /// Which product.
        #[arg(long, value_enum, default_value = "postgresql")]
        kind: DatabaseKind,
        /// The server's name [default: the product's].
        name: Option<String>,
    },
    /// Make a database with a user of the same name; what there was of both goes first.
    Create {
        /// The server.
        server: String,
        /// The database and its user.
        database: String,
        /// The user's password.
        password: String,
    },
    /// End the server at once, as a crash would.
    Stop {
        /// The server.
        server: String,
    },
    /// Start the server with the data it had.
    Start {
        /// The server.
        server: String,
    },
    /// End the server at once and start it again.
    Restart {
        /// The server.
        server: String,
    },
    /// Stop all of the server's processes in their tracks.
    Freeze {
        /// The server.
        server: String,
    },
    /// Let a frozen server go on.
    Thaw {
        /// The server.
        server: String,
    },
    /// Drop the server's packets from and to a node and its pods, until it is healed.
    Cut {
        /// The server.
        server: String,
        /// The node, by number [default: all nodes].
        #[arg(long = "from")]
        node: Option<u8>,
    },
    /// Undo every cut of the server.
    Heal {
        /// The server.
        server: String,
    },
    /// Run psql or mariadb as the administrator.
    Sql {
        /// The server.
        server: String,
        /// The database [default: the one that is always there].
        #[arg(long)]
        database: Option<String>,
        /// Passed to the client as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Remove the server with its data.
    Remove {
        /// The server.
        server: String,
    },
}

/// Does it.
pub fn carry_out(bed: &Bed, action: DatabaseAction) -> Result<()> {
    let known = |name: &str| bed.known_database(name);
    match action {
        DatabaseAction::Up { kind, name } => {
            let name = name.unwrap_or_else(|| kind.name().to_owned());
            tell(&bed.database(kind, &name)?);
            Ok(())
        }
        DatabaseAction::Create { server, database, password } => {
            known(&server)?.create(&database, &password)
        }
        DatabaseAction::Stop { server } => known(&server)?.stop(),
        DatabaseAction::Start { server } => known(&server)?.start(),
        DatabaseAction::Restart { server } => known(&server)?.restart(),
        DatabaseAction::Freeze { server } => known(&server)?.freeze(),
        DatabaseAction::Thaw { server } => known(&server)?.thaw(),
        DatabaseAction::Cut { server, node: None } => known(&server)?.cut(),
        DatabaseAction::Cut { server, node: Some(node) } => {
            bed.node(node)?;
            known(&server)?.cut_from(&[node])
        }
        DatabaseAction::Heal { server } => known(&server)?.heal(),
        DatabaseAction::Sql { server, database, arguments } => {
            let server = known(&server)?;
            let database = database.as_deref().unwrap_or(server.main_database());
            let error = server.client(database).args(arguments).exec();
            Err(error).context("starting the client")
        }
        DatabaseAction::Remove { server } => known(&server)?.remove(),
    }
}

fn tell(server: &Database) {
    println!("{} {}:{}", server.name(), server.address(), server.kind().port());
    println!("authority {}", server.authority().display());
    println!("log {}", server.log().display());
}
