use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("kubectl-tandem").chain(line.split(' ')))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples_in_its_help() {
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("kubectl"), "{}", command.get_name());
    }
}

#[test]
fn the_namespace_may_stand_anywhere() {
    for line in ["-n shop status orders", "status orders -n shop", "status -n shop orders"] {
        let cli = parse(line).unwrap();
        assert_eq!(cli.connection.namespace.as_deref(), Some("shop"), "{line}");
        let Command::Ask(Operation::Status(args)) = cli.command else { panic!("{line}") };
        assert_eq!(args.name.as_deref(), Some("orders"));
    }
}

#[test]
fn durations_are_those_of_kubectl() {
    assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
    assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
    for wrong in ["", "5", "-5m", "soon", "0s"] {
        assert!(duration(wrong).unwrap_err().contains("90s"), "{wrong}");
    }
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "logs --master --standby",
        "logs --master --pod orders-0",
        "logs -f --previous",
        "status -o json --watch",
        "fence",
        "nonsense",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn pods_are_a_list_and_flags_may_follow() {
    let Command::Ask(Operation::Fence(args)) =
        parse("fence orders-1 orders-2 --timeout 5m").unwrap().command
    else {
        panic!("no fence");
    };
    assert_eq!(args.pods, ["orders-1", "orders-2"]);
    assert_eq!(args.waiting.timeout, Some(Duration::from_mins(5)));
}
