//! The world as a model: what can happen next, and what must hold.

use stateright::{Model, Property};
use tandem::agent::machine::{Deadline, Input};
use tandem::broker::report::AgentState;

use crate::rules::{Fault, Rules};
use crate::world::{BrokerId, Phase, Promotion, World};

/// At most one broker can write.
pub const S1: &str = "S1: one writer";
/// Epochs rise, each names one pod, the later proof wins, and nothing of a dead broker lands late.
pub const WRONG: &str = "S1 to S3: nothing else went wrong";
/// While anything is wrong, something goes on.
pub const L1: &str = "L1: quiet only when whole";

/// What can happen; a number is a pod's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Look(usize),
    Greet(usize),
    Hung(usize),
    Reap(usize),
    Broker(usize),
    Pass(usize, Deadline),
    Prepare(usize),
    Release(usize),
    Empty(usize),
    Promote(usize),
    ReadStale(usize),
    Write(usize),
    WriteAnswerLost(usize),
    SeeRecord(usize),
    GiveUp(BrokerId),
    Land,
    Fault(usize, Fault),
    Mend(usize),
}

impl World {
    fn possible(&self, steps: &mut Vec<Step>) {
        for p in 0..self.pods.len() {
            self.possible_of_agent(p, steps);
            let pod = &self.pods[p];
            let able = pod.broker.is_some() && !pod.broker_is_frozen() && pod.storage;
            if able && !pod.off {
                steps.push(Step::Broker(p));
            }
            if self.is_ill(p) {
                steps.push(Step::Mend(p));
            }
            if self.faults > 0 {
                let of = self.rules.0.of.iter().filter(|fault| self.can_suffer(p, **fault));
                steps.extend(of.map(|fault| Step::Fault(p, *fault)));
            }
        }
        steps.extend(self.given_up().into_iter().map(Step::GiveUp));
        if self.store.in_flight.is_some() {
            steps.push(Step::Land);
        }
    }

    fn possible_of_agent(&self, p: usize, steps: &mut Vec<Step>) {
        let pod = &self.pods[p];
        if !pod.acts() {
            return;
        }
        if pod.corpse.is_some() {
            steps.push(Step::Reap(p));
        } else if pod.storage {
            steps.push(Step::Look(p));
        }
        steps.push(Step::Greet(p));
        if self.shows_no_life(p) {
            steps.push(Step::Hung(p));
        }
        let passing = pod.armed.iter().filter(|deadline| self.may_pass(p, **deadline));
        steps.extend(passing.map(|deadline| Step::Pass(p, *deadline)));
        if pod.preparing {
            steps.push(Step::Prepare(p));
        }
        if pod.releasing.is_some() && pod.storage {
            steps.push(Step::Release(p));
        }
        if pod.emptying {
            steps.push(Step::Empty(p));
        }
        if pod.api {
            steps.push(Step::SeeRecord(p));
            match pod.promotion {
                Some(Promotion::Begun) => {
                    steps.push(Step::Promote(p));
                    if self.faults > 0
                        && self.rules.0.may(Fault::StaleRead)
                        && self.before.is_some()
                    {
                        steps.push(Step::ReadStale(p));
                    }
                }
                Some(Promotion::Read(_) | Promotion::OnlyProven { .. }) => {
                    steps.push(Step::Promote(p));
                }
                Some(Promotion::Proven { .. }) => {
                    steps.push(Step::Write(p));
                    if self.faults > 0 && self.rules.0.may(Fault::LostAnswer) {
                        steps.push(Step::WriteAnswerLost(p));
                    }
                }
                None => {}
            }
        }
    }

    fn after(&self, step: &Step) -> Self {
        let mut world = self.clone();
        match *step {
            Step::Look(p) => world.look(p),
            Step::Greet(p) => world.greet(p),
            Step::Hung(p) => world.feed(p, Input::Hung),
            Step::Reap(p) => world.reap(p),
            Step::Broker(p) => world.go_on(p),
            Step::Pass(p, deadline) => world.pass(p, deadline),
            Step::Prepare(p) => world.prepare(p),
            Step::Release(p) => world.release(p),
            Step::Empty(p) => world.empty(p),
            Step::Promote(p) => world.promote(p, false),
            Step::ReadStale(p) => {
                world.faults -= 1;
                world.promote(p, true);
            }
            Step::Write(p) => world.write(p, false),
            Step::WriteAnswerLost(p) => {
                world.faults -= 1;
                world.write(p, true);
            }
            Step::SeeRecord(p) => world.see_record(p),
            Step::GiveUp(id) => world.give_up(id),
            Step::Land => world.land(),
            Step::Fault(p, fault) => {
                world.faults -= 1;
                world.suffer(p, fault);
            }
            Step::Mend(p) => world.mend(p),
        }
        world.settle();
        world.forget();
        world
    }

    /// Everything is over, and all is as it should be: one master, to which the record leads, and the
    /// others wait. Of a master that was deleted, and whose node never hears of it, no record tells.
    pub fn is_whole(&self) -> bool {
        let there: Vec<usize> = (0..self.pods.len()).filter(|p| !self.pods[*p].off).collect();
        let masters: Vec<usize> = there.iter().copied().filter(|p| self.is_master(*p)).collect();
        let [master] = masters[..] else { return false };
        let waits = |p: &&usize| {
            let pod = &self.pods[**p];
            pod.machine.name() == AgentState::Standby && !pod.broker_is_frozen()
        };
        let pod = &self.pods[master];
        let serves = pod.broker.as_ref().is_some_and(|broker| broker.phase == Phase::Serving);
        let led = self.record.is_some_and(|it| it.leads && it.uid == Some(pod.uid));
        let unheard = self.is_replaced(master) && !pod.api;
        serves && there.iter().filter(waits).count() + 1 == there.len() && (led || unheard)
    }

    fn quiet(&self) -> bool {
        let mut steps = Vec::new();
        self.possible(&mut steps);
        let steps = steps.iter().filter(|step| !matches!(step, Step::Fault(..)));
        steps.map(|step| self.after(step)).all(|next| next == *self)
    }
}

/// The model of these rules.
#[derive(Clone, Debug)]
pub struct Group(pub &'static Rules);

impl Model for Group {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.0)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        // What comes after a violation tells nothing new.
        if world.wrong.is_none() && world.writers().nth(1).is_none() {
            world.possible(steps);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        // What changes nothing is no step.
        Some(world.after(&step)).filter(|next| next != world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(S1, |_, world: &World| world.writers().nth(1).is_none()),
            Property::always(WRONG, |_, world: &World| world.wrong.is_none()),
            Property::always(L1, |_, world: &World| world.is_whole() || !world.quiet()),
            Property::sometimes("there is a master", |_, world: &World| world.is_whole()),
        ]
    }
}
