//! Label and annotation keys, and the values Tandem gives them.

/// The API group; also the prefix of every key below.
pub const GROUP: &str = "tandem-operator.io";
/// The field manager of everything the operator applies.
pub const OPERATOR: &str = "tandem-operator";
/// The field manager of an agent when it re-creates a deleted record.
pub const AGENT: &str = "tandem-agent";

/// Recommended label: the application.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Recommended label: which group, that is the `BrokerCluster`'s name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Recommended label: what the object is for.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label: who keeps the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "tandem";

/// Ties an EndpointSlice to its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Says which controller keeps an EndpointSlice.
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// `master` or `standby`, on pods, for people to read; traffic never depends on it.
pub const ROLE: &str = "tandem-operator.io/role";
/// Hash of the pod template that a pod was made from.
pub const TEMPLATE_HASH: &str = "tandem-operator.io/template-hash";
/// Hash of the object as the operator last applied it: tells that a field was dropped since.
pub const APPLIED_HASH: &str = "tandem-operator.io/applied-hash";

/// On the StatefulSet: the revision of the spec that was given up because a pod of it did not come up.
pub const HALTED: &str = "tandem-operator.io/halted";

/// Record: a decimal counter, one higher for each promotion, never lower.
pub const EPOCH: &str = "tandem-operator.io/epoch";
/// Record: the promoted pod's name.
pub const MASTER: &str = "tandem-operator.io/master";
/// Record: the promoted pod's uid.
pub const MASTER_UID: &str = "tandem-operator.io/master-uid";
/// Record: when it was promoted (RFC 3339, milliseconds).
pub const SINCE: &str = "tandem-operator.io/since";
/// Record: the master before this one; absent for the first.
pub const PREVIOUS_MASTER: &str = "tandem-operator.io/previous-master";
/// Record: milliseconds from the lock taken to the record written.
pub const TAKEOVER_MILLIS: &str = "tandem-operator.io/takeover-millis";
/// Record: how often the mastership went from one pod to another, a decimal counter.
pub const FAILOVERS: &str = "tandem-operator.io/failovers";
/// Record: the last request for a switchover, and the mastership that it is meant for: it asks nothing of a
/// later one.
pub const STEP_DOWN: &str = "tandem-operator.io/step-down";
/// On a `BrokerCluster`, by people: any value that was not there before asks for a switchover. With
/// `to=<pod>` in it, to that pod.
pub const SWITCHOVER: &str = "tandem-operator.io/switchover";
/// Record: several brokers held the lock at the same time; which, when, and which of them goes on. While
/// it is there, nobody is promoted unless all others are seen to hold nothing.
pub const DISPUTED: &str = "tandem-operator.io/disputed";
/// On a `BrokerCluster`, by people: any value that was not there before asks for all brokers to be
/// restarted, one after the other, as for a change of the spec.
pub const RESTART: &str = "tandem-operator.io/restart";
/// Record: the pods whose brokers are kept down, as a JSON list of names. Written by the operator only.
pub const FENCED: &str = "tandem-operator.io/fenced";
/// Record: the identity of the store that the group serves from. Written by promotions: when there is none, or
/// when it is the one that a person accepted.
pub const STORE: &str = "tandem-operator.io/store";
/// Record: the identity of the store that a person accepted in the place of [`STORE`]. Written by the operator only.
pub const ACCEPTED_STORE: &str = "tandem-operator.io/accepted-store";
/// On a `BrokerCluster`, by people: the identity of a store from which the group is to serve from now on, though it
/// is not the one that it served from.
pub const ACCEPT_STORE: &str = "tandem-operator.io/accept-store";
/// Finalizer of a `BrokerCluster` whose claim is to be deleted with it.
pub const CLAIM_FINALIZER: &str = "tandem-operator.io/claim";
