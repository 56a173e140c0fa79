//! `completion`, and what kubectl asks to complete a command line.

use std::time::Duration;

use clap::CommandFactory;
use tokio::time::timeout;

use crate::plugin::{
    args::{Cli, Connection, Shell},
    cluster::Cluster,
    gather::{connect::connect, find},
    screen::Screen,
};

/// Who presses a key waits no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// To the shell: do not offer files.
const NO_FILES: &str = ":4";

pub(super) fn script(shell: Shell, screen: &mut Screen) -> anyhow::Result<()> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = Cli::command().bin_name("kubectl-tandem");
    clap_complete::generate(shell, &mut command, "kubectl-tandem", &mut script);
    Ok(screen.print(&String::from_utf8(script)?)?)
}

/// One candidate a line, then what the shell should do with them.
pub(super) async fn candidates(
    connection: &Connection,
    words: &[String],
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let offered = match wanted(words) {
        Wanted::These(words) => words,
        Wanted::Clusters => clusters(&scope(connection, words), |c| vec![c.name().name]).await,
        Wanted::Pods => clusters(&scope(connection, words), Cluster::pods).await,
    };
    let last = words.last().map(String::as_str).unwrap_or_default();
    for word in offered.iter().filter(|word| word.starts_with(last)) {
        screen.line(word)?;
    }
    Ok(screen.line(NO_FILES)?)
}

/// What fits at the end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    These(Vec<String>),
    Clusters,
    Pods,
}

fn wanted(words: &[String]) -> Wanted {
    let command = Cli::command();
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    if matches!(before.last().map(String::as_str), Some("--pod" | "--to")) {
        return Wanted::Pods;
    }
    let subcommand = before.iter().find_map(|word| command.find_subcommand(word));
    if last.starts_with('-') {
        let own = subcommand.into_iter().flat_map(clap::Command::get_arguments);
        let flags = own.chain(command.get_arguments()).filter_map(|flag| flag.get_long());
        return Wanted::These(flags.map(|flag| format!("--{flag}")).collect());
    }
    match subcommand.map(clap::Command::get_name) {
        None => {
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            Wanted::These(visible.map(|command| command.get_name().to_owned()).collect())
        }
        Some("completion") => Wanted::These(["bash", "fish", "zsh"].map(str::to_owned).into()),
        Some("version") => Wanted::These(Vec::new()),
        Some("fence" | "unfence") => Wanted::Pods,
        Some(_) => Wanted::Clusters,
    }
}

/// The options of the unfinished line that say where to look.
fn scope(connection: &Connection, words: &[String]) -> Connection {
    let after = |names: &[&str]| {
        let at = words.iter().position(|word| names.contains(&word.as_str()))?;
        words.get(at + 1).cloned()
    };
    Connection {
        namespace: after(&["-n", "--namespace"]).or_else(|| connection.namespace.clone()),
        context: after(&["--context"]).or_else(|| connection.context.clone()),
        kubeconfig: after(&["--kubeconfig"])
            .map(Into::into)
            .or_else(|| connection.kubeconfig.clone()),
        no_color: true,
    }
}

/// Of all groups; none if they cannot be listed: a completion does not complain.
async fn clusters(connection: &Connection, names: impl Fn(&Cluster) -> Vec<String>) -> Vec<String> {
    let listed = timeout(PATIENCE, async {
        let session = connect(connection).await?;
        find::list(&session).await
    });
    match listed.await {
        Ok(Ok(clusters)) => clusters.iter().flat_map(names).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_completed_by_what_fits_there() {
        let Wanted::These(commands) = wanted(&words("sta")) else { panic!("no commands") };
        assert!(
            commands.contains(&"status".to_owned()) && !commands.contains(&"__complete".to_owned())
        );
        assert_eq!(wanted(&words("status ")), Wanted::Clusters);
        assert_eq!(wanted(&words("-n shop switchover o")), Wanted::Clusters);
        assert_eq!(wanted(&words("switchover orders --to ")), Wanted::Pods);
        assert_eq!(wanted(&words("fence ")), Wanted::Pods);
        assert_eq!(wanted(&words("version ")), Wanted::These(Vec::new()));
        let Wanted::These(flags) = wanted(&words("status --")) else { panic!("no flags") };
        for flag in ["--watch", "--output", "--namespace"] {
            assert!(flags.contains(&flag.to_owned()), "{flag} of {flags:?}");
        }
    }

    #[test]
    fn names_are_looked_for_where_the_line_says() {
        let scope = scope(&Connection::default(), &words("status -n shop --context east "));
        assert_eq!(scope.namespace.as_deref(), Some("shop"));
        assert_eq!(scope.context.as_deref(), Some("east"));
    }
}
