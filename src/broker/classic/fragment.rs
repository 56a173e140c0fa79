//! The user's XML: child elements of `<broker>`, checked and split without being understood.

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::usage::Usage;

/// The namespace of ActiveMQ's own elements, which `<broker>` declares.
const CORE: &str = "http://activemq.apache.org/schema/core";

/// What Tandem sets up itself, and what to do instead of writing it.
const OWNED: [(&str, &str); 9] = [
    ("persistenceAdapter", "the store and its lock come from spec.storage"),
    ("persistenceFactory", "the store and its lock come from spec.storage"),
    ("transportConnectors", "connectors come from spec.listeners"),
    ("managementContext", "Tandem keeps JMX inside the pod"),
    ("ioExceptionHandler", "what happens on a storage error is part of the fencing"),
    ("dataDirectoryFile", "directories are fixed by Tandem"),
    ("tmpDataDirectory", "directories are fixed by Tandem"),
    ("schedulerDirectoryFile", "directories are fixed by Tandem"),
    ("jobSchedulerStore", "directories are fixed by Tandem"),
];

/// Plugins that would replace the login that Tandem sets up.
const OWNED_PLUGINS: [&str; 4] = [
    "jaasAuthenticationPlugin",
    "jaasCertificateAuthenticationPlugin",
    "jaasDualAuthenticationPlugin",
    "simpleAuthenticationPlugin",
];

/// One element with everything in it, as the user wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// The namespace that it declares for itself (`xmlns`).
    pub namespace: Option<String>,
    /// Its text, from `<` to `>`.
    pub text: String,
}

/// The user's elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Children of `<broker>` other than `<plugins>` and `<systemUsage>`.
    pub elements: Vec<Element>,
    /// The limits in `<systemUsage>`.
    pub usage: Usage,
    /// Children of `<plugins>`.
    pub plugins: Vec<Element>,
}

impl Element {
    /// Without its text yet.
    fn new(tag: &BytesStart<'_>) -> Result<Self, String> {
        let name = checked(tag)?;
        let declared = tag.attributes().flatten().find(|one| one.key.as_ref() == b"xmlns");
        let namespace = declared.map(|one| String::from_utf8_lossy(&one.value).into_owned());
        Ok(Self { name, namespace, text: String::new() })
    }
}

/// Checks and splits the user's XML.
///
/// # Errors
/// A sentence that says what is wrong, where, and what to do.
pub fn parse(xml: &str) -> Result<Fragment, String> {
    let mut fragment = Fragment::default();
    let mut names = Vec::new();
    for element in split(xml)? {
        if let Some((name, why)) = OWNED.iter().find(|(name, _)| *name == element.name) {
            return Err(format!("<{name}> is set up by Tandem ({why}); remove it"));
        }
        if let Some(other) = element.namespace.as_ref().filter(|name| *name != CORE) {
            return Err(format!(
                "<{}> has the namespace {other:?}; children of <broker> are ActiveMQ's: remove xmlns",
                element.name
            ));
        }
        if names.contains(&element.name) {
            return Err(format!("<{}> stands there twice; merge the two", element.name));
        }
        names.push(element.name.clone());
        match element.name.as_str() {
            "plugins" => fragment.plugins = plugins(&element)?,
            "systemUsage" => fragment.usage = Usage::parse(&element)?,
            _ => fragment.elements.push(element),
        }
    }
    Ok(fragment)
}

impl Element {
    /// The attributes of its tag, with their values as they are written.
    ///
    /// # Errors
    /// What is not well-formed.
    pub fn attributes(&self) -> Result<Vec<(String, String)>, String> {
        match Reader::from_str(&self.text).read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => tag
                .attributes()
                .map(|attribute| {
                    let attribute =
                        attribute.map_err(|error| format!("<{}>: {error}", self.name))?;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    Ok((text(attribute.key.as_ref()), text(&attribute.value)))
                })
                .collect(),
            _ => Err(format!("<{}> has no tag", self.name)),
        }
    }

    /// The elements directly inside of it.
    ///
    /// # Errors
    /// What is not well-formed, or text where only elements can stand.
    pub fn children(&self) -> Result<Vec<Self>, String> {
        let mut reader = Reader::from_str(&self.text);
        match reader.read_event() {
            Ok(Event::Start(_)) => {}
            _ => return Ok(Vec::new()),
        }
        let inner = self.text.get(position(&reader)..).unwrap_or_default();
        split(inner.rsplit_once("</").map_or("", |(inner, _)| inner))
    }
}

fn plugins(element: &Element) -> Result<Vec<Element>, String> {
    let plugins = element.children()?;
    match plugins.iter().find(|plugin| OWNED_PLUGINS.contains(&plugin.name.as_str())) {
        Some(plugin) => Err(format!(
            "<{}> is set up by Tandem (users come from spec.auth); remove it",
            plugin.name
        )),
        None => Ok(plugins),
    }
}

/// Splits XML into its outermost elements.
pub(super) fn split(xml: &str) -> Result<Vec<Element>, String> {
    let mut reader = Reader::from_str(xml);
    let mut elements = Vec::new();
    let mut open: Option<(Element, usize, usize)> = None; // element, start, depth
    loop {
        let start = position(&reader);
        let event = reader.read_event().map_err(|error| {
            format!("not well-formed at byte {}: {error}", reader.error_position())
        })?;
        let end = position(&reader);
        match (event, &mut open) {
            (Event::Eof, None) => return Ok(elements),
            (Event::Eof, Some((element, ..))) => {
                return Err(format!("<{}> is not closed", element.name));
            }
            (Event::Start(tag), None) => {
                open = Some((Element::new(&tag)?, start, 1));
            }
            (Event::Start(tag), Some((_, _, depth))) => {
                checked(&tag)?;
                *depth += 1;
            }
            (Event::Empty(tag), None) => {
                elements.push(Element { text: slice(xml, start, end), ..Element::new(&tag)? });
            }
            (Event::Empty(tag), Some(_)) => {
                checked(&tag)?;
            }
            (Event::End(_), Some((_, _, depth))) if *depth > 1 => *depth -= 1,
            (Event::End(_), Some((element, begin, _))) => {
                let element = std::mem::take(element);
                elements.push(Element { text: slice(xml, *begin, end), ..element });
                open = None;
            }
            (event, open) => inside(&event, open.is_some(), start)?,
        }
    }
}

/// Events other than tags: comments and white space anywhere, text only inside an element.
fn inside(event: &Event<'_>, within: bool, at: usize) -> Result<(), String> {
    match event {
        Event::Comment(_) => Ok(()),
        Event::Text(text) if within || text.iter().all(u8::is_ascii_whitespace) => Ok(()),
        Event::CData(_) if within => Ok(()),
        Event::GeneralRef(reference) if within && predefined(reference) => Ok(()),
        Event::DocType(_) => Err("a document type is not allowed; remove it".to_owned()),
        Event::GeneralRef(_) => {
            Err(format!("the entity at byte {at} is not allowed; write the text itself"))
        }
        Event::PI(_) | Event::Decl(_) => Err(format!(
            "the instruction at byte {at} is not allowed; write only child elements of <broker>"
        )),
        Event::Text(_)
        | Event::CData(_)
        | Event::Start(_)
        | Event::End(_)
        | Event::Empty(_)
        | Event::Eof => Err(format!(
            "text at byte {at} stands outside of any element; write only child elements of <broker>"
        )),
    }
}

fn predefined(reference: &[u8]) -> bool {
    reference.starts_with(b"#")
        || [&b"amp"[..], b"lt", b"gt", b"quot", b"apos"].contains(&reference)
}

/// A tag's name, once its attributes are known to be well-formed. A name with a prefix would be none of
/// those that are Tandem's, and yet be the same element.
fn checked(tag: &BytesStart<'_>) -> Result<String, String> {
    let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
    if name.contains(':') {
        return Err(format!(
            "<{name}> has a prefix; write it without, and xmlns=\"...\" if needed"
        ));
    }
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("<{name}>: {error}"))?;
        if attribute.value.contains(&b'<') {
            return Err(format!("<{name}>: an attribute contains '<'; write &lt;"));
        }
    }
    Ok(name)
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn slice(xml: &str, start: usize, end: usize) -> String {
    xml.get(start..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_keep_their_text_and_plugins_are_opened() {
        let xml = "<!-- mine -->\n<destinationInterceptors><a x='1>2'/></destinationInterceptors>\n\
                   <plugins><a b=\"c\">&amp;</a><d/></plugins><destinations/>";
        let fragment = parse(xml).unwrap();
        let names = |list: &[Element]| list.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&fragment.elements), ["destinationInterceptors", "destinations"]);
        assert_eq!(names(&fragment.plugins), ["a", "d"]);
        assert_eq!(fragment.plugins[0].text, "<a b=\"c\">&amp;</a>");
        assert_eq!(
            fragment.elements[0].text,
            "<destinationInterceptors><a x='1>2'/></destinationInterceptors>"
        );
        let bean = "<bean xmlns='http://www.springframework.org/schema/beans' class='a.B'/>";
        parse(&format!("<plugins>{bean}</plugins><shutdownHooks>{bean}</shutdownHooks>")).unwrap();
    }

    #[test]
    fn every_bad_input_is_refused_with_a_reason() {
        for (xml, reason) in [
            ("<a>", "not closed"),
            ("<a></b>", "not well-formed"),
            ("</a>", "not well-formed"),
            ("hello", "outside of any element"),
            ("<!DOCTYPE a><a/>", "document type"),
            ("<a>&evil;</a>", "entity"),
            ("<?php?><a/>", "instruction"),
            ("<persistenceAdapter/>", "spec.storage"),
            ("<transportConnectors></transportConnectors>", "spec.listeners"),
            ("<a/><a/>", "twice"),
            ("<plugins><simpleAuthenticationPlugin/></plugins>", "spec.auth"),
            ("<a b='1' b='2'/>", "<a>"),
            ("<a b=1/>", "<a>"),
            ("<x:systemUsage/>", "prefix"),
            ("<property xmlns='http://www.springframework.org/schema/beans'/>", "namespace"),
            ("<systemUsage/><systemUsage/>", "twice"),
            ("<plugins/><plugins/>", "twice"),
            ("<x:persistenceAdapter xmlns:x='http://activemq.apache.org/schema/core'/>", "prefix"),
            ("<plugins><x:simpleAuthenticationPlugin/></plugins>", "prefix"),
            ("<a><x:b/></a>", "prefix"),
            ("<bean xmlns='http://www.springframework.org/schema/beans'/>", "namespace"),
            ("<a xmlns=''></a>", "namespace"),
        ] {
            let message = parse(xml).expect_err(xml);
            assert!(message.contains(reason), "{xml}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(xml in "[<>/a-c!&;?= '\"\\-\\[\\]ö]{0,40}") {
            let _checked = parse(&xml).is_ok();
        }
    }
}
