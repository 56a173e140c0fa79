//! Quantities as users write them: `1Gi`, `"0.5"`, `2`.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A Kubernetes quantity. Unlike the built-in type's generated schema it takes whole numbers too,
/// because `cpu: 2` is what people write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuantityValue(pub String);

impl<'de> Deserialize<'de> for QuantityValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i64),
            Text(String),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        }))
    }
}

impl JsonSchema for QuantityValue {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
        })
    }
}

impl From<&QuantityValue> for Quantity {
    fn from(value: &QuantityValue) -> Self {
        Self(value.0.clone())
    }
}

impl QuantityValue {
    /// The value in base units, or nothing if it is no quantity.
    pub fn amount(&self) -> Option<f64> {
        amount(&self.0)
    }
}

/// The value of a quantity in base units (cores, bytes), or nothing if the text is no quantity.
pub fn amount(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
    ];
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))
        .or_else(|| text.strip_suffix('E').map(|number| (number, 1e18)))
        .unwrap_or((text, 1.0));
    if !number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    number.parse::<f64>().ok().map(|value| value * factor)
}

/// The amount of a quantity in whole bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, as it should"
)]
pub fn whole(amount: f64) -> u64 {
    amount as u64
}

/// Whole mebibytes as a quantity, rounded up.
pub fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_compare_by_value() {
        for (left, right) in [("1Gi", "1024Mi"), ("0.5", "500m"), ("1e3", "1k"), ("2", "2")] {
            assert_eq!(amount(left), amount(right), "{left} {right}");
        }
        for none in ["", "Gi", "lots", "1x"] {
            assert_eq!(amount(none), None, "{none}");
        }
    }
}
