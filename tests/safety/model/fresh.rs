//! New names for new things. Whether two are the same is all that counts of them, so each gets the
//! least that nobody still bears: counters that rise for ever would make equal worlds different.

use crate::record::NEW;
use crate::rules::Mutation;
use crate::world::{BrokerId, Promotion, World, ordinal};

impl World {
    /// For a broker that is started.
    pub fn fresh_broker(&self, p: usize) -> BrokerId {
        let uid = self.pods[p].uid;
        if self.rules.0.lacks(Mutation::SameHolderIds) {
            return BrokerId { pod: ordinal(uid), life: 0 };
        }
        let of_pods = self.pods.iter().flat_map(|pod| {
            let broker = pod.broker.as_ref().map(|broker| broker.id);
            [broker, pod.corpse, pod.releasing].into_iter().flatten()
        });
        let store = &self.store;
        let lease = store.lease.map(|(holder, _)| holder);
        let of_store = [store.lock, lease, store.in_flight].into_iter().flatten();
        let used: Vec<BrokerId> = of_pods.chain(of_store).collect();
        let mut lives = 0..;
        let fresh = lives.find(|life| !used.contains(&BrokerId { pod: uid, life: *life }));
        BrokerId { pod: uid, life: fresh.expect("a number") }
    }

    /// For a record that is written.
    pub fn fresh_version(&self) -> u32 {
        let of_pods = self.pods.iter().filter_map(|pod| match &pod.promotion {
            Some(Promotion::Read(next) | Promotion::Proven { next, .. }) => Some(next.version),
            Some(Promotion::Begun | Promotion::OnlyProven { .. }) | None => None,
        });
        let records = [self.record, self.before].into_iter().flatten();
        let used: Vec<u32> = of_pods.chain(records.map(|record| record.version)).collect();
        (1..NEW).find(|version| !used.contains(version)).expect("a number")
    }
}
