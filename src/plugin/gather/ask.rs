//! Requests with a deadline, whose failures are sentences that say what to do.

use std::{fmt, time::Duration};

use crate::kube_ext::{RequestError, request_within};

/// No request takes longer, unless it says so.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What is asked of the API server, in RBAC's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// `get`, `list`, `watch`, `patch`.
    pub verb: &'static str,
    /// With its group, as RBAC names it: `pods/log`, `brokerclusters.tandem-operator.io`.
    pub resource: &'static str,
    /// The object, if it is about one.
    pub name: String,
    /// The namespace; none for all of them.
    pub namespace: Option<String>,
    /// How long the answer may take.
    pub deadline: Duration,
}

/// The resource that all of this is about.
pub const BROKER_CLUSTERS: &str = "brokerclusters.tandem-operator.io";

impl Ask {
    /// About one object of a namespace.
    pub fn one(verb: &'static str, resource: &'static str, namespace: &str, name: &str) -> Self {
        let namespace = Some(namespace.to_owned());
        Self { verb, resource, name: name.to_owned(), namespace, deadline: DEADLINE }
    }

    /// About all objects of a namespace.
    pub fn all(verb: &'static str, resource: &'static str, namespace: &str) -> Self {
        Self::one(verb, resource, namespace, "")
    }

    /// About objects of the whole cluster, or of all namespaces.
    pub fn everywhere(verb: &'static str, resource: &'static str, name: &str) -> Self {
        Self { verb, resource, name: name.to_owned(), namespace: None, deadline: DEADLINE }
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`Refused`], which reads as a sentence.
    pub async fn send<T>(
        self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Refused> {
        match request_within(self.deadline, self.to_string(), request).await {
            Ok(answer) => Ok(answer),
            Err(source) => Err(Refused { ask: self, source: Box::new(source) }),
        }
    }

    /// The right that it takes, in words.
    fn right(&self) -> String {
        let place = self.namespace.as_ref().map_or_else(
            || "in the whole cluster".to_owned(),
            |namespace| format!("in namespace {namespace}"),
        );
        format!("`{}` on `{}` {place}", self.verb, self.resource)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// A request that failed. Its text says why and what to do.
#[derive(Debug)]
pub struct Refused {
    /// What was asked.
    pub ask: Ask,
    /// What came of it.
    pub source: Box<RequestError>,
}

impl std::error::Error for Refused {}

impl Refused {
    /// Whether the right to ask is missing.
    pub fn is_forbidden(&self) -> bool {
        self.source.status().is_some_and(kube::core::Status::is_forbidden)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sentence(&self.ask, &self.source))
    }
}

fn sentence(ask: &Ask, error: &RequestError) -> String {
    if let Some(status) = error.status() {
        return refusal(ask, status.code, &status.message);
    }
    match error {
        RequestError::Kube { source, .. } => unanswered(ask, source),
        RequestError::Deadline { limit, .. } => format!(
            "{ask}: the API server did not answer within {} s. Check the network, and --context",
            limit.as_secs()
        ),
        RequestError::Answer { source, .. } => unreadable(ask, source),
    }
}

fn unreadable(ask: &Ask, error: &serde_json::Error) -> String {
    format!("{ask}: the answer cannot be read: {error}")
}

fn refusal(ask: &Ask, code: u16, message: &str) -> String {
    match code {
        401 => format!(
            "the API server does not accept your credentials ({message}). Log in again, or choose \
             another context with --context"
        ),
        403 => format!(
            "you lack a right: {}. Ask whoever gives rights in this cluster, or choose another \
             context with --context. The API server says: {message}",
            ask.right()
        ),
        404 if ask.resource == BROKER_CLUSTERS && ask.name.is_empty() => {
            "BrokerCluster is not defined in this Kubernetes cluster. Install Tandem, or choose \
             another context with --context"
                .to_owned()
        }
        404 => format!("{ask}: there is none"),
        409 => format!("{ask}: somebody else changed it at the same time. Try again"),
        _ => format!("{ask}: the API server refused it: {message}"),
    }
}

/// With the innermost cause: the outer ones only say that a request failed.
fn unanswered(ask: &Ask, error: &kube::Error) -> String {
    if let kube::Error::SerdeError(error) = error {
        return unreadable(ask, error);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!(
        "{ask}: the API server cannot be asked: {cause}. Check the network, the credentials, and \
         --context"
    )
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(ask: Ask, code: u16, message: &str) -> String {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        let source = Box::new(kube::Error::Api(Box::new(status)));
        let source = RequestError::Kube { what: String::new(), source };
        Refused { ask, source: Box::new(source) }.to_string()
    }

    #[test]
    fn a_missing_right_is_named() {
        let text = refused(Ask::one("get", "pods/proxy", "shop", "orders-0"), 403, "no");
        assert!(text.contains("`get` on `pods/proxy` in namespace shop"), "{text}");
        let text = refused(Ask::everywhere("list", "deployments.apps", ""), 403, "no");
        assert!(text.contains("`list` on `deployments.apps` in the whole cluster"), "{text}");
    }

    #[test]
    fn a_missing_definition_is_told_from_a_missing_object() {
        let text = refused(Ask::all("list", BROKER_CLUSTERS, "shop"), 404, "404 page not found");
        assert!(text.contains("Install Tandem"), "{text}");
        let text = refused(Ask::one("get", BROKER_CLUSTERS, "shop", "orders"), 404, "");
        assert_eq!(
            text,
            "get brokerclusters.tandem-operator.io orders in namespace shop: there is none"
        );
    }

    #[test]
    fn other_refusals_say_what_the_api_server_says() {
        let ask = || Ask::one("patch", BROKER_CLUSTERS, "shop", "orders");
        assert!(refused(ask(), 401, "Unauthorized").contains("Log in again"));
        assert!(refused(ask(), 409, "").contains("Try again"));
        assert!(refused(ask(), 422, "spec.replicas: too many").contains("spec.replicas: too many"));
        let source = RequestError::Deadline { what: String::new(), limit: DEADLINE };
        let refused = Refused { ask: ask(), source: Box::new(source) };
        assert!(refused.to_string().contains("within 10 s"));
    }

    #[test]
    fn an_unreachable_server_is_told_with_the_innermost_cause() {
        let inner = std::io::Error::other("connection refused");
        let source = Box::new(kube::Error::Service(Box::new(inner)));
        let source = RequestError::Kube { what: String::new(), source };
        let ask = Ask::all("list", BROKER_CLUSTERS, "shop");
        let text = Refused { ask, source: Box::new(source) }.to_string();
        assert!(text.contains("cannot be asked: connection refused. Check"), "{text}");
    }
}
