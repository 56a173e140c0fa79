//! A request as the fake API server reads it.

use std::collections::BTreeMap;

use http::Request;
use kube::client::Body;
use serde_json::Value;

/// What a request asks for, in RBAC's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub verb: String,
    pub group: String,
    /// With the subresource, as `pods/status`.
    pub resource: String,
    pub namespace: String,
    pub name: Option<String>,
}

#[derive(Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub group: String,
    pub resource: String,
    pub namespace: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
    pub content_type: String,
    pub body: Value,
    query: BTreeMap<String, String>,
}

impl Call {
    pub async fn read(request: Request<Body>) -> Self {
        let method = request.method().to_string();
        let header =
            request.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let whole = request.uri().path().to_owned();
        let query = query(request.uri().query().unwrap_or_default());
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let mut parts = whole.trim_start_matches('/').split('/');
        let group = match parts.next() {
            Some("api") => String::new(),
            Some("apis") => parts.next().unwrap().to_owned(),
            _ => panic!("the fake API server does not know {whole}"),
        };
        let rest: Vec<&str> = parts.skip(1).collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let text = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        let subresource = text(2);
        let path = subresource.as_ref().and_then(|sub| {
            let (object, _) = whole.split_once(&format!("/{sub}"))?;
            Some(object)
        });
        let path = path.unwrap_or(whole.as_str());
        Self {
            path: path.to_owned(),
            resource: text(0)
                .unwrap_or_else(|| panic!("the fake API server does not know {whole}")),
            namespace: namespace.to_owned(),
            name: text(1),
            content_type: header.unwrap_or_default(),
            method,
            group,
            subresource,
            body,
            query,
        }
    }

    pub fn asked(&self) -> Asked {
        let verb = match (self.method.as_str(), &self.name) {
            ("GET", Some(_)) => "get",
            ("GET", None) if self.is_watch() => "watch",
            ("GET", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", Some(_)) => "delete",
            other => panic!("the fake API server does not know {other:?}"),
        };
        let subresource =
            self.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        Asked {
            verb: verb.to_owned(),
            group: self.group.clone(),
            resource: format!("{}{subresource}", self.resource),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    pub fn is_watch(&self) -> bool {
        self.query.get("watch").is_some_and(|value| value == "true" || value == "1")
    }

    /// The version after which a watch begins.
    pub fn version(&self) -> Option<usize> {
        self.query.get("resourceVersion").and_then(|version| version.parse().ok())
    }

    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    pub fn is_apply(&self) -> bool {
        self.content_type == "application/apply-patch+yaml"
    }

    pub fn forced(&self) -> bool {
        self.query.get("force").is_some_and(|value| value == "true")
    }

    pub fn manager(&self) -> &str {
        let given = self.query.get("fieldManager").map(String::as_str);
        assert!(given.is_some() || !self.is_apply(), "an apply without a field manager");
        given.unwrap_or("unnamed")
    }

    /// Whether a list asks for this object.
    pub fn selects(&self, path: &str, object: &Value) -> bool {
        let Some((rest, name)) = path.rsplit_once('/') else { return false };
        let Some((rest, resource)) = rest.rsplit_once('/') else { return false };
        resource == self.resource
            && (self.namespace.is_empty() || rest.rsplit('/').next() == Some(&self.namespace))
            && (self.group.is_empty() || rest.split('/').nth(2) == Some(&self.group))
            && terms(self.query.get("labelSelector"))
                .all(|term| term.holds(object["metadata"]["labels"][&term.key].as_str()))
            && terms(self.query.get("fieldSelector")).all(|term| {
                assert_eq!(term.key, "metadata.name", "this field selector is not modelled");
                term.holds(Some(name))
            })
    }
}

/// What a selector asks of one value.
struct Term {
    key: String,
    wants: Wants,
}

enum Wants {
    Any,
    Equal(String),
    Another(String),
}

impl Term {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.wants {
            Wants::Any => value.is_some(),
            Wants::Equal(wanted) => value == Some(wanted),
            Wants::Another(unwanted) => value != Some(unwanted),
        }
    }
}

/// `a=b,c!=d,e`
fn terms(selector: Option<&String>) -> impl Iterator<Item = Term> {
    let terms =
        selector.map(String::as_str).unwrap_or_default().split(',').filter(|term| !term.is_empty());
    terms.map(|term| {
        let (key, wants) = match term.split_once('=') {
            Some((key, value)) => {
                assert!(!value.starts_with('='), "only equality with one sign is modelled");
                key.strip_suffix('!').map_or_else(
                    || (key, Wants::Equal(value.to_owned())),
                    |key| (key, Wants::Another(value.to_owned())),
                )
            }
            None => (term, Wants::Any),
        };
        assert!(!key.contains(['!', ' ', '(']), "{term} is not modelled");
        Term { key: key.to_owned(), wants }
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let (code, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        decoded.push_str(&rest.replace('+', " "));
    }
    decoded
}
