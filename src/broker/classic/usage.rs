//! The limits of a broker's memory, store and temporary store: `<systemUsage>`, complete.
//!
//! A `<systemUsage>` replaces all of the broker's own limits (`BrokerService.getSystemUsage`), and a limit
//! that is not set is 0, which means none (`Usage.caclPercentUsage`; 5.18.4 to 6.3.1). So whatever the
//! user leaves out is added here.

use super::fragment::Element;

/// The broker's memory for messages, as in the configuration that ActiveMQ ships. The rest of the heap
/// is for connections, the store's index and messages on their way in.
const MEMORY: &str = r#"<memoryUsage><memoryUsage percentOfJvmHeap="70"/></memoryUsage>"#;

/// Only a limit in percent rises again when there is more room than before: a broker that starts on a
/// full volume would otherwise take no message until it is started again (6.3.1). Senders wait at nine tenths:
/// a broker that finds no room for its index and for what consumers acknowledge has to be killed.
const STORE: &str = r#"<storeUsage><storeUsage percentLimit="90"/></storeUsage>"#;

/// The temporary store's size in bytes where the user sets none: room for two million messages of 1 kB
/// that are not persistent.
pub const DEFAULT_TEMP: u64 = 2 << 30;

/// The limits that `<systemUsage>` can hold, by the element's name.
const KINDS: [&str; 4] = ["jobSchedulerUsage", "memoryUsage", "storeUsage", "tempUsage"];

/// What the user's XML says of limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The tag of the inner `<systemUsage>`, without `<` and `>`; empty if there is none.
    tag: String,
    /// The limits, each as the user wrote it.
    limits: Vec<Element>,
    /// The limit of the temporary store in bytes.
    temp: Option<u64>,
}

impl Usage {
    /// Reads the user's `<systemUsage>`.
    ///
    /// # Errors
    /// What cannot be completed: the element, the value, and what to write instead.
    pub fn parse(outer: &Element) -> Result<Self, String> {
        if !outer.attributes()?.is_empty() {
            return Err(format!("{FORM}; move the attributes to the inner <systemUsage>"));
        }
        let mut inner = outer.children()?.into_iter();
        let (inner, further) = (inner.next(), inner.next());
        let Some(inner) = inner else { return Ok(Self::default()) };
        if inner.name != "systemUsage" || further.is_some() {
            return Err(format!("{FORM}, and only that"));
        }
        let mut usage = Self { tag: tag(&inner)?, ..Self::default() };
        for limit in inner.children()? {
            let bytes = limit_of(&limit)?;
            if usage.limits.iter().any(|earlier| earlier.name == limit.name) {
                return Err(format!("<{}> stands in <systemUsage> twice; keep one", limit.name));
            }
            if limit.name == "tempUsage" {
                usage.temp = bytes;
            }
            usage.limits.push(limit);
        }
        Ok(usage)
    }

    /// The complete element. Only a volume gets a limit of the store: a broker does not know how large
    /// a database is (`JDBCPersistenceAdapter.size` is 0).
    pub fn render(&self, on_volume: bool) -> String {
        let temp = format!(r#"<tempUsage><tempUsage limit="{DEFAULT_TEMP}"/></tempUsage>"#);
        let defaults = [("memoryUsage", MEMORY), ("storeUsage", STORE), ("tempUsage", &temp)];
        let mut limits: Vec<(&str, &str)> =
            self.limits.iter().map(|limit| (limit.name.as_str(), limit.text.as_str())).collect();
        for (name, text) in defaults {
            let wanted = on_volume || name != "storeUsage";
            if wanted && !limits.iter().any(|(earlier, _)| *earlier == name) {
                limits.push((name, text));
            }
        }
        limits.sort_by_key(|(name, _)| *name);
        let limits: String = limits.into_iter().map(|(_, text)| text).collect();
        let tag = if self.tag.is_empty() { "systemUsage" } else { &self.tag };
        format!("<systemUsage><{tag}>{limits}</systemUsage></systemUsage>")
    }

    /// How large the temporary store may become, in bytes.
    pub fn temp_bytes(&self) -> u64 {
        self.temp.unwrap_or(DEFAULT_TEMP)
    }
}

const FORM: &str =
    "<systemUsage> must contain one <systemUsage> with <memoryUsage>, <storeUsage> or <tempUsage>";

/// The inner element's tag. A limit that is a reference to a bean cannot be checked.
fn tag(inner: &Element) -> Result<String, String> {
    let mut tag = inner.name.clone();
    for (name, value) in inner.attributes()? {
        if KINDS.contains(&name.as_str()) {
            return Err(format!(
                "{name}=\"{value}\" of <systemUsage> is not allowed; write an element <{name}> in it"
            ));
        }
        if name.contains(':') || name == "xmlns" {
            return Err(format!("{name} of <systemUsage> is not allowed; remove it"));
        }
        let quote = if value.contains('"') { '\'' } else { '"' };
        tag = format!("{tag} {name}={quote}{value}{quote}");
    }
    Ok(tag)
}

/// Checks one of the limits, and how many bytes it is if it says so.
fn limit_of(property: &Element) -> Result<Option<u64>, String> {
    let name = property.name.as_str();
    if !KINDS.contains(&name) {
        return Err(format!("<{name}> in <systemUsage> is not one of its limits; remove it"));
    }
    let percent = if name == "memoryUsage" { "percentOfJvmHeap" } else { "percentLimit" };
    let sample = if name == "tempUsage" {
        r#"limit="2 gb""#.to_owned()
    } else {
        format!(r#"{percent}="70" or limit="512 mb""#)
    };
    let wrong = |what: &str| {
        format!(
            "{what}; write <{name}><{name} {sample}/></{name}>, or remove <{name}> and Tandem sets it"
        )
    };
    let mut beans = property.children()?.into_iter();
    let (Some(bean), None, true) = (beans.next(), beans.next(), property.attributes()?.is_empty())
    else {
        return Err(wrong(&format!("<{name}> must contain one <{name}> and nothing else")));
    };
    if bean.name != name || !bean.children()?.is_empty() {
        return Err(wrong(&format!("<{name}> contains what is no plain <{name}>")));
    }
    let mut found = None;
    for (attribute, value) in bean.attributes()? {
        if attribute == "limit" {
            let bytes = bytes(&value).filter(|bytes| *bytes > 0);
            let size = bytes.ok_or_else(|| {
                wrong(&format!("limit=\"{value}\" of <{name}> is not a size above 0"))
            })?;
            found = Some(Some(size));
        } else if attribute == percent && name == "tempUsage" {
            return Err(wrong(&format!(
                "{percent}=\"{value}\" of <tempUsage> is a part of the node's disk, which others use too"
            )));
        } else if attribute == percent {
            let known = value.parse::<u8>().is_ok_and(|percent| (1..=100).contains(&percent));
            if !known {
                return Err(wrong(&format!(
                    "{percent}=\"{value}\" of <{name}> is not a number from 1 to 100"
                )));
            }
            found = found.or(Some(None));
        } else if attribute == "usagePortion" || attribute.contains(':') || attribute == "xmlns" {
            return Err(wrong(&format!("{attribute}=\"{value}\" of <{name}> is not allowed")));
        }
    }
    found.ok_or_else(|| wrong(&format!("<{name}> sets no limit, which means none")))
}

/// A size as the broker reads it (`XBeanByteConverterUtil`): a number with `b`, `kb`, `mb` or `gb` behind it.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, shift) = [('k', 10), ('m', 20), ('g', 30)]
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, shift)))
        .unwrap_or((text, 0));
    let number = number.trim_end();
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    i64::try_from(bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
