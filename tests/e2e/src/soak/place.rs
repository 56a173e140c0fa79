//! Places a soak's faults, and undoes them.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{Component, From, Node, PodProcess};

use super::{Fault, Role, Step};
use crate::{Group, Lab, lab::SYSTEM};

/// Ends a fault.
pub type Undo = Box<dyn FnOnce() -> Result<()>>;

/// Places the fault; tells where exactly, and how to end it.
///
/// # Errors
/// When there is nobody to whom it could happen just now.
pub async fn place(lab: &Lab, group: &Group<'_>, step: Step) -> Result<(String, Undo)> {
    match step.fault {
        Fault::BrokerKilled(role) => {
            let pod = pod(group, role).await?;
            group.signal_broker(&pod, Signal::SIGKILL).await?;
            once(pod)
        }
        Fault::AgentKilled(role) => {
            let pod = pod(group, role).await?;
            group.process(&pod, "tandem").await?.signal(Signal::SIGKILL)?;
            once(pod)
        }
        Fault::BrokerFrozen(role) => {
            let pod = pod(group, role).await?;
            let broker = group.process(&pod, "java").await?;
            freeze(pod, vec![broker])
        }
        Fault::AgentFrozen(role) => {
            let pod = pod(group, role).await?;
            let agent = group.process(&pod, "tandem").await?;
            freeze(pod, vec![agent])
        }
        Fault::PodFrozen(role) => {
            let pod = pod(group, role).await?;
            let all = group.processes(&pod).await?;
            freeze(pod, all)
        }
        Fault::PodDeleted(role) => {
            let pod = pod(group, role).await?;
            group.delete_pod(&pod, None).await?;
            once(pod)
        }
        Fault::PodDeletedAtOnce(role) => {
            let pod = pod(group, role).await?;
            group.delete_pod(&pod, Some(0)).await?;
            once(pod)
        }
        Fault::ServerCut(role) => server_cut(group, role).await,
        Fault::ServerFrozen => server_frozen(group),
        Fault::ServerRestarted => {
            match (&group.storage, &group.database) {
                (Some(storage), _) => storage.restart()?,
                (None, database) => database.as_ref().context("no server")?.server.restart()?,
            }
            once(String::new())
        }
        Fault::LockTouched => lock(group, r#"touch "$1""#).await,
        Fault::LockDeleted => lock(group, r#"rm -f "$1""#).await,
        Fault::NodeOff => {
            let node = lab.bed.node(1)?;
            node.power_off()?;
            Ok(("n1".to_owned(), Box::new(move || node.power_on())))
        }
        Fault::NodeCutFromApi(number) => cut(lab.bed.node(number)?, From::Api),
        Fault::NodeCutFromAll => cut(lab.bed.node(1)?, From::All),
        Fault::ApiServerFrozen => {
            let bed = lab.bed.clone();
            bed.component(Component::Apiserver).freeze()?;
            Ok((String::new(), Box::new(move || bed.component(Component::Apiserver).thaw())))
        }
        Fault::OperatorDeleted => {
            let name = "app.kubernetes.io/name=tandem";
            lab.bed.kubectl(&["-n", SYSTEM, "delete", "pod", "-l", name, "--wait=false"])?;
            once(String::new())
        }
    }
}

/// The master that the record names, or the other one; while it names none, the first one is taken for
/// it.
async fn pod(group: &Group<'_>, role: Role) -> Result<String> {
    let master = group.record().await?.0.unwrap_or_else(|| format!("{}-0", group.name));
    Ok(match role {
        Role::Master => master,
        Role::Standby => group.other(&master),
    })
}

fn once(place: String) -> Result<(String, Undo)> {
    Ok((place, Box::new(|| Ok(()))))
}

fn freeze(place: String, processes: Vec<PodProcess>) -> Result<(String, Undo)> {
    processes.iter().try_for_each(|process| process.signal(Signal::SIGSTOP))?;
    let undo = move || processes.iter().try_for_each(|process| process.signal(Signal::SIGCONT));
    Ok((place, Box::new(undo)))
}

fn cut(node: Node, from: From) -> Result<(String, Undo)> {
    node.cut(from)?;
    Ok((node.name(), Box::new(move || node.heal())))
}

async fn server_cut(group: &Group<'_>, role: Role) -> Result<(String, Undo)> {
    let number = group.node_of(&pod(group, role).await?).await?;
    let undo: Undo = match (group.storage.clone(), &group.database) {
        (Some(storage), _) => {
            storage.cut_from(&[number])?;
            Box::new(move || storage.heal())
        }
        (None, database) => {
            let server = database.as_ref().context("no server")?.server.clone();
            server.cut_from(&[number])?;
            Box::new(move || server.heal())
        }
    };
    Ok((format!("n{number}"), undo))
}

fn server_frozen(group: &Group<'_>) -> Result<(String, Undo)> {
    let undo: Undo = match (group.storage.clone(), &group.database) {
        (Some(storage), _) => {
            storage.freeze()?;
            Box::new(move || storage.thaw())
        }
        (None, database) => {
            let server = database.as_ref().context("no server")?.server.clone();
            server.freeze()?;
            Box::new(move || server.thaw())
        }
    };
    Ok((String::new(), undo))
}

async fn lock(group: &Group<'_>, command: &str) -> Result<(String, Undo)> {
    if group.storage.is_some() {
        // The second node is never off.
        group.tamper(2, command)?;
        return once("by n2".to_owned());
    }
    let database = group.database()?;
    let done = database.sql(&format!("DELETE FROM {}", database.lock_table()));
    ensure!(done.is_ok(), "the database does not answer");
    once(String::new())
}
