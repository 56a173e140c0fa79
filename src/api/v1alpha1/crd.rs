//! The CustomResourceDefinition as it is shipped.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::BrokerCluster;

/// Fields of `spec.pod` whose types are Kubernetes' own.
const EMBEDDED: [&str; 7] = [
    "affinity",
    "env",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
    "volumeMounts",
    "volumes",
];

/// The CustomResourceDefinition. Kubernetes' own types come without their long descriptions: with
/// them the definition would not fit into the annotation that `kubectl apply` writes (256 KiB).
///
/// # Errors
/// Never in practice: when the derived definition is no JSON.
pub fn crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(BrokerCluster::crd())?;
    for field in EMBEDDED {
        let pod =
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/pod/properties";
        if let Some(schema) =
            crd.pointer_mut(&format!("{pod}/{field}")).and_then(Value::as_object_mut)
        {
            let own = schema.remove("description");
            schema.values_mut().for_each(strip);
            schema.extend(own.map(|text| ("description".to_owned(), text)));
        }
    }
    serde_json::from_value(crd)
}

/// Removes the descriptions of a schema; a property that is itself named `description` stays.
fn strip(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "description" || !value.is_string());
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_fits_into_an_annotation_of_kubectl_apply() {
        let size = serde_json::to_string(&super::crd().unwrap()).unwrap().len();
        assert!(size < 200_000, "{size}");
    }
}
