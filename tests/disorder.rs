//! People and faults in any order, beside an operator that is killed now and then: no broker is lost that is
//! needed, nobody is promoted without a reason, and when all is taken back, the group is whole.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{
    fake_api::State,
    group::Says,
    world::{SPEC, World},
};
use tandem::api::labels;

/// Something that people do, or that happens.
#[derive(Clone, Debug)]
enum Event {
    Change(u8),
    BrokenImage,
    Restart(u8),
    Ask(u8),
    AskFor(u8, u8),
    Replicas(u8),
    Fence(u8),
    LetGo,
    Hibernate(bool),
    Cordon(u8, bool),
    PodDeleted(u8),
    Silence(u8),
    AllSpeak,
    OperatorKilled,
    Later(u8),
}

fn any_event() -> impl Strategy<Value = Event> {
    let pod = 0..3_u8;
    prop_oneof![
        2 => any::<u8>().prop_map(Event::Change),
        1 => Just(Event::BrokenImage),
        1 => any::<u8>().prop_map(Event::Restart),
        2 => any::<u8>().prop_map(Event::Ask),
        1 => (any::<u8>(), pod.clone()).prop_map(|(id, pod)| Event::AskFor(id, pod)),
        1 => (1..4_u8).prop_map(Event::Replicas),
        1 => pod.clone().prop_map(Event::Fence),
        1 => Just(Event::LetGo),
        1 => any::<bool>().prop_map(Event::Hibernate),
        2 => (pod.clone(), any::<bool>()).prop_map(|(node, on)| Event::Cordon(node, on)),
        2 => pod.clone().prop_map(Event::PodDeleted),
        1 => pod.prop_map(Event::Silence),
        1 => Just(Event::AllSpeak),
        1 => Just(Event::OperatorKilled),
        2 => (1..90_u8).prop_map(Event::Later),
    ]
}

fn happen(world: &World, event: &Event) {
    let pod = |ordinal: &u8| format!("orders-{ordinal}");
    match event {
        Event::Change(heap) => {
            world.edit("/broker/java/heap", json!(format!("{}%", heap % 70 + 1)));
        }
        Event::BrokenImage => {
            world.edit("/broker/image", json!("registry.example/no-such-image:1"));
        }
        Event::Restart(id) => world.annotate(labels::RESTART, &id.to_string()),
        Event::Ask(id) => world.ask(&id.to_string()),
        Event::AskFor(id, to) => world.ask(&format!("{id} to={}", pod(to))),
        Event::Replicas(number) => world.edit("/replicas", json!(number)),
        Event::Fence(ordinal) => world.edit("/fencedPods", json!([pod(ordinal)])),
        Event::LetGo => world.edit("/fencedPods", json!([])),
        Event::Hibernate(sleeps) => world.edit("/hibernated", json!(sleeps)),
        Event::Cordon(node, on) => world.cordon(&format!("node-{node}"), *on),
        Event::PodDeleted(ordinal) => {
            let mut state = world.state();
            let State { store, group, .. } = &mut *state;
            let path = World::at("pods", &pod(ordinal));
            if store.get(&path).is_some() {
                group.end(store, &path);
            }
        }
        Event::Silence(ordinal) => {
            world.state().group.says.insert(pod(ordinal), Says::Silence);
        }
        Event::AllSpeak => world.state().group.says.clear(),
        Event::OperatorKilled => world.restart(),
        Event::Later(seconds) => world.later(Duration::from_secs((*seconds).into())),
    }
}

/// All that people asked for is taken back, and all that happened has passed.
async fn calm(world: &World) {
    world.state().group.says.clear();
    for node in 0..3 {
        world.cordon(&format!("node-{node}"), false);
    }
    for (field, value) in [
        ("/fencedPods", json!([])),
        ("/hibernated", json!(false)),
        ("/broker/image", Value::Null),
        ("/replicas", json!(2)),
    ] {
        world.edit(field, value);
    }
    // What was refused is asked again after a while, and what was given up after a change.
    world.annotate(labels::RESTART, "in the end");
    for _ in 0..4 {
        world.disturbed(4).await;
        world.later(Duration::from_secs(61));
    }
    world.settle().await;
}

async fn live_through(events: &[(Event, u8)]) {
    let world = World::settled(&format!("{SPEC}\nreplicas: 3")).await;
    for (event, rounds) in events {
        happen(&world, event);
        world.disturbed((*rounds).into()).await;
    }
    calm(&world).await;
    assert_eq!(world.condition("Ready"), "True Serving");
    assert_eq!(world.condition("StandbyReady"), "True AllWaiting");
    assert_eq!(world.condition("Progressing"), "False UpToDate");
    assert_eq!(world.names("pods"), ["orders-0", "orders-1"]);
    assert_eq!(world.record().held, Vec::<String>::new());
    // And it stays so.
    let masters = world.state().group.promotions.clone();
    world.forget();
    world.rounds(3).await;
    assert_eq!(world.state().group.promotions, masters);
    assert_eq!(world.writes(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_in_whatever_order_the_group_is_whole_in_the_end(
        events in prop::collection::vec((any_event(), 0..5_u8), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(live_through(&events));
    }
}
