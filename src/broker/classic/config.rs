//! The configuration files of ActiveMQ Classic; the only place that writes XML.

use super::{connectors, fragment::Fragment, jdbc_beans, paths, warm_up};
use crate::{
    api::v1alpha1::Listener,
    broker::store::{Store, VolumeLock},
};

/// What `activemq.xml` depends on.
pub struct BrokerXml<'a> {
    /// The cluster's name, which is the broker's name in every pod.
    pub name: &'a str,
    /// The users' ports.
    pub listeners: &'a [Listener],
    /// Where the messages are, and the lock.
    pub store: &'a Store,
    /// The user's own elements.
    pub fragment: &'a Fragment,
    /// The largest heap in bytes.
    pub heap: u64,
}

/// How often, in milliseconds, a broker looks whether its volume has more or less room than before, and
/// how many more bytes count.
const LOOK_FOR_ROOM: &str =
    r#" schedulePeriodForDiskUsageCheck="5000" diskUsageCheckRegrowThreshold="1048576""#;

/// By default a broker goes on when its disk was full. Its index is then older than it believes, and
/// messages that it has acknowledged are not found again (docs/decisions/0014).
const NO_ERROR_IS_IGNORED: &str = r#"<ioExceptionHandler><bean xmlns="http://www.springframework.org/schema/beans" class="org.apache.activemq.util.DefaultIOExceptionHandler"><property name="ignoreNoSpaceErrors" value="false"/></bean></ioExceptionHandler>"#;

impl BrokerXml<'_> {
    /// The text of `activemq.xml`.
    ///
    /// Numbers are rendered, not passed as placeholders: integer attributes are checked by the
    /// schema before placeholders are replaced. `restartAllowed` is false because a broker that lost
    /// its lock must end, not start over inside the same JVM.
    pub fn render(&self) -> String {
        let on_volume = matches!(self.store, Store::Volume { .. });
        let mut children = vec![
            ("managementContext", r#"<managementContext><managementContext createConnector="false"/></managementContext>"#.to_owned()),
            ("persistenceAdapter", format!("<persistenceAdapter>{}</persistenceAdapter>", self.persistence())),
            ("plugins", self.plugins()),
            ("transportConnectors", connectors::render(self.listeners, self.heap)),
            ("systemUsage", self.fragment.usage.render(on_volume)),
        ];
        if matches!(self.store, Store::Database { .. }) {
            children.push(("ioExceptionHandler", jdbc_beans::io_exception_handler()));
        }
        if on_volume {
            children.push(("ioExceptionHandler", NO_ERROR_IS_IGNORED.to_owned()));
        }
        children.extend(self.fragment.elements.iter().map(|e| (e.name.as_str(), e.text.clone())));
        children.sort_by_key(|(name, _)| *name); // the schema wants alphabetical order
        let lines: Vec<String> =
            children.into_iter().map(|(_, text)| format!("    {text}\n")).collect();
        let body = lines.concat();
        format!(
            r#"<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <bean class="org.springframework.beans.factory.config.PropertyPlaceholderConfigurer"/>
  {warm_up}
{beans}  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="{name}" dataDirectory="{scratch}" persistent="true" restartAllowed="false"{room} useJmx="true">
{body}  </broker>
</beans>
"#,
            warm_up = warm_up::bean(),
            beans = self.beans(),
            name = self.name,
            room = if on_volume { LOOK_FOR_ROOM } else { "" },
            scratch = paths::SCRATCH,
        )
    }

    fn beans(&self) -> String {
        match self.store {
            Store::Volume { lock: VolumeLock::File { .. }, .. } => String::new(),
            Store::Volume { lock: VolumeLock::Lease(database), .. } => {
                jdbc_beans::beside_the_broker(database, None)
            }
            Store::Database { database, max_connections, .. } => {
                jdbc_beans::beside_the_broker(database, Some(*max_connections))
            }
        }
    }

    /// A keep-alive of 0, the stock default, never checks the lock: two masters were seen with it.
    /// `stopOnError`: a journal has no database that refuses late writes, so a broker that cannot
    /// renew its lease ends; without it, it would log that and go on (6.3.1).
    fn persistence(&self) -> String {
        let kahadb = paths::KAHADB;
        match self.store {
            Store::Volume {
                lock: VolumeLock::File { poll_millis, keep_alive_millis, .. }, ..
            } => {
                format!(
                    r#"<kahaDB directory="{kahadb}" lockKeepAlivePeriod="{keep_alive_millis}"><locker><shared-file-locker lockAcquireSleepInterval="{poll_millis}"/></locker></kahaDB>"#
                )
            }
            Store::Volume { lock: VolumeLock::Lease(database), .. } => format!(
                r#"<kahaDB directory="{kahadb}" lockKeepAlivePeriod="{}" stopOnError="true"><locker>{}</locker></kahaDB>"#,
                database.renew_millis,
                jdbc_beans::locker(database, true),
            ),
            Store::Database { database, adapter, .. } => jdbc_beans::store(database, adapter),
        }
    }

    /// The login comes first; an authorization of the user's can name the groups `users` and `admins`.
    fn plugins(&self) -> String {
        let mut plugins = String::from(r#"<jaasAuthenticationPlugin configuration="activemq"/>"#);
        for plugin in &self.fragment.plugins {
            plugins.push_str(&plugin.text);
        }
        format!("<plugins>{plugins}</plugins>")
    }
}

/// Whole milliseconds of a duration.
pub fn millis(duration: &kube::core::Duration) -> u64 {
    u64::try_from(std::time::Duration::from(*duration).as_millis()).unwrap_or(u64::MAX)
}

/// The login module: users and groups from files that the agent makes of Secrets; `reload` picks up
/// a rotated password without a restart.
pub fn login_config() -> String {
    format!(
        r#"activemq {{
  org.apache.activemq.jaas.PropertiesLoginModule required
    baseDir="{}"
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.group="groups.properties"
    reload=true;
}};
"#,
        paths::LOGIN
    )
}

#[cfg(test)]
mod tests {
    use super::{super::fragment, *};

    fn render(xml: &str) -> String {
        let listeners: Vec<Listener> =
            serde_saphyr::from_str("[{name: openwire, protocol: OpenWire, port: 61616}]").unwrap();
        let fragment = fragment::parse(xml).unwrap();
        BrokerXml {
            name: "orders",
            listeners: &listeners,
            store: &Store::Volume {
                claim: "a".into(),
                lock: VolumeLock::File {
                    poll_millis: 100,
                    keep_alive_millis: 250,
                    fence_after_millis: 20_000,
                },
                preflight: crate::broker::settings::Preflight::Required,
            },
            fragment: &fragment,
            heap: 512 << 20,
        }
        .render()
    }

    #[test]
    fn children_stand_in_alphabetical_order_and_the_result_is_well_formed() {
        let text = render("<systemUsage/><destinationPolicy/>");
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(at("<destinationPolicy") < at("<managementContext"));
        assert!(
            at("<plugins") < at("<systemUsage") && at("<systemUsage") < at("<transportConnectors")
        );
        assert_eq!(text.matches("<systemUsage").count(), 2, "the user's own, completed");
        let mut reader = quick_xml::Reader::from_str(&text);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    }

    #[test]
    fn the_agents_listener_is_the_last_one() {
        let text = render("");
        assert!(text.find("name=\"openwire\"").unwrap() < text.find("tandem-greeting").unwrap());
        assert!(
            text.contains("lockKeepAlivePeriod=\"250\"")
                && text.contains("lockAcquireSleepInterval=\"100\"")
        );
    }

    #[test]
    fn plugins_of_the_user_come_after_the_login() {
        let text = render("<plugins><authorizationPlugin/></plugins>");
        assert!(text.contains(
            "<jaasAuthenticationPlugin configuration=\"activemq\"/><authorizationPlugin/>"
        ));
    }
}
