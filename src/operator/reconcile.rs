//! One pass over one cluster, from top to bottom.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::{
    Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{controller::Action, events::Recorder},
};

use super::{
    carry_out::carry_out,
    claims,
    listen::Listener,
    observe::observe,
    publish::{announce, publish},
    removal,
    split_brain::confirm,
};
use crate::{
    api::v1alpha1::BrokerCluster,
    core::{
        credentials::with_credentials,
        events,
        lock::{Group, Lock, judge},
        observed::Observed,
        plan::{Plan, plan},
        privileges, status,
        validate::{Invalid, ValidCluster, validate},
    },
    kube_ext::RequestError,
    reports::Reports,
    resources::Settings,
    telemetry::operator_metrics::OperatorMetrics,
};

/// What every pass needs.
pub struct Context<R> {
    /// The API server.
    pub client: Client,
    /// The agents.
    pub reports: R,
    /// For Events.
    pub recorder: Recorder,
    /// What the operator adds to specs.
    pub settings: Settings,
    /// Counters.
    pub metrics: OperatorMetrics,
    /// What agents have said of their databases.
    pub listener: Arc<Listener>,
    /// Tells the time.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Since when a record has disagreed with the proven master, by the cluster's uid. Losing it
    /// delays a repair by two seconds, nothing else.
    pub disagreements: Mutex<HashMap<String, Timestamp>>,
    /// Since when pods neither serve nor wait for the lock, by the cluster's uid and theirs. Losing it
    /// delays the end of an update that does not get along, nothing else.
    pub idle: Mutex<HashMap<String, BTreeMap<String, Timestamp>>>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API server failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The object does not match its schema.
    #[error("the BrokerCluster does not match its schema: {0}")]
    Malformed(String),
}

impl Error {
    /// A short constant name for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Request(error) => error.category(),
            Self::Malformed(_) => "malformed",
        }
    }
}

/// One pass. Status is published whether or not the writes succeeded.
///
/// # Errors
/// The first request that failed; the pass is repeated then.
pub async fn reconcile<R: Reports>(
    object: Arc<DeserializeGuard<BrokerCluster>>,
    context: Arc<Context<R>>,
) -> Result<Action, Error> {
    let started = tokio::time::Instant::now();
    let result = match &object.0 {
        Err(invalid) => Err(Error::Malformed(invalid.to_string())),
        Ok(cluster) if cluster.metadata.deletion_timestamp.is_some() => {
            removal::finish(&context.client, &context.recorder, cluster)
                .await
                .map(|()| Action::await_change())
                .map_err(Error::from)
        }
        Ok(cluster) => pass(cluster, &context).await,
    };
    context.metrics.reconciled(result.as_ref().err().map(Error::category), started.elapsed());
    result
}

/// What to do after a failed pass.
pub fn retry<R>(
    _: Arc<DeserializeGuard<BrokerCluster>>,
    error: &Error,
    _: Arc<Context<R>>,
) -> Action {
    tracing::warn!(%error, "a pass failed");
    match error {
        Error::Malformed(_) => Action::await_change(),
        Error::Request(error) if error.is_conflict() => Action::requeue(Duration::from_millis(200)),
        Error::Request(_) => Action::requeue(Duration::from_secs(5)),
    }
}

async fn pass<R: Reports>(object: &BrokerCluster, context: &Context<R>) -> Result<Action, Error> {
    if removal::prepare(&context.client, object).await? {
        // The object has changed: the watch brings it, and with it the next pass.
        return Ok(Action::requeue(crate::core::plan::NOW_AND_THEN));
    }
    let previous = object.status.as_ref();
    let now = (context.now)();
    let cluster = match checked(object, context.settings.privileged_pods) {
        Ok(cluster) => cluster,
        Err(problems) => {
            let status = status::rejected(&problems, object.metadata.generation, previous, now);
            publish(&context.client, &context.recorder, object, &status).await?;
            return Ok(Action::requeue(jittered(crate::core::plan::LATER)));
        }
    };
    let mut observed = observe(&context.client, &context.reports, &cluster, None).await?;
    let cluster = with_credentials(cluster, &observed);
    if let Lock::Disputed(_) = judge(&observed) {
        observed.dispute = confirm(&context.reports, &observed.pods).await;
    }
    observed.disagreement_since = context.disagreement(&cluster.uid, &observed, now);
    observed.idle_since = context.idle_since(&cluster.uid, &observed, now);
    context.listener.passed(&cluster, &observed);
    let plan = plan(&cluster, &observed, &context.settings, now);
    tracing::debug!(cluster = %cluster.name, ?observed, findings = ?plan.findings, "pass");
    let grown = claims::grow(&context.client, &cluster, &plan).await;
    let outcome = carry_out(&context.client, &context.reports, &cluster, &plan).await;
    let refused = outcome.as_ref().err().and_then(RequestError::refusal);
    let ended = status::Outcome {
        findings: &plan.findings,
        refused: refused.as_deref(),
        growth_refused: grown.as_ref().ok().and_then(Option::as_deref),
    };
    let status = status::status(&cluster, &observed, ended, previous, now);
    publish(&context.client, &context.recorder, object, &status).await?;
    context.metrics.cluster(
        &object.namespace().unwrap_or_default(),
        &object.name_any(),
        &plan.findings,
    );
    outcome?;
    grown?;
    if let Some(occurrence) = plan.step.as_ref().and_then(events::of_step) {
        announce(&context.recorder, object, occurrence).await;
    }
    Ok(Action::requeue(look_again(&plan)))
}

/// The cluster, if its spec can be carried out and asks for nothing that only an administrator may allow.
fn checked(object: &BrokerCluster, privileged: bool) -> Result<ValidCluster, Vec<Invalid>> {
    let cluster = validate(object)?;
    let problems = if privileged { Vec::new() } else { privileges::problems(&cluster.spec) };
    if problems.is_empty() { Ok(cluster) } else { Err(problems) }
}

/// Work in hand is looked at soon; a settled group rarely, and not all groups at once.
fn look_again(plan: &Plan) -> Duration {
    if plan.look_again == crate::core::plan::LATER {
        jittered(plan.look_again)
    } else {
        plan.look_again
    }
}

fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}

impl<R> Context<R> {
    /// Remembers since when pods have not done their part.
    fn idle_since(
        &self,
        uid: &str,
        observed: &Observed,
        now: Timestamp,
    ) -> BTreeMap<String, Timestamp> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let before = idle.remove(uid).unwrap_or_default();
        let pods = observed.pods.iter().filter(|pod| !pod.waits() && !pod.serves());
        let since: BTreeMap<_, _> = pods
            .map(|pod| (pod.uid.clone(), before.get(&pod.uid).copied().unwrap_or(now)))
            .collect();
        if !since.is_empty() {
            idle.insert(uid.to_owned(), since.clone());
        }
        since
    }

    /// Remembers since when the record has not named the proven master.
    fn disagreement(&self, uid: &str, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
        let lock = judge(observed);
        let agrees = match crate::core::lock::group(observed, &lock) {
            Group::Serving(master) => observed.record_leads_to(&master),
            Group::Dead | Group::InTransit(_) => true,
        };
        let mut since = self.disagreements.lock().unwrap_or_else(PoisonError::into_inner);
        if agrees {
            since.remove(uid);
            return None;
        }
        Some(*since.entry(uid.to_owned()).or_insert(now))
    }
}
