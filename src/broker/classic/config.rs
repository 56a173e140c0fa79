//! The configuration files of ActiveMQ Classic; the only place that writes XML.

use super::{GREETING_PORT, fragment::Fragment, paths};
use crate::api::v1alpha1::{FileLock, Listener, Protocol};

/// What `activemq.xml` depends on.
pub struct BrokerXml<'a> {
    /// The cluster's name, which is the broker's name in every pod.
    pub name: &'a str,
    /// The users' ports.
    pub listeners: &'a [Listener],
    /// The lock's timing.
    pub lock: &'a FileLock,
    /// The user's own elements.
    pub fragment: &'a Fragment,
}

impl BrokerXml<'_> {
    /// The text of `activemq.xml`.
    ///
    /// Numbers are rendered, not passed as placeholders: integer attributes are checked by the
    /// schema before placeholders are replaced. `restartAllowed` is false because a broker that lost
    /// its lock must end, not start over inside the same JVM.
    pub fn render(&self) -> String {
        let mut children = vec![
            ("managementContext", r#"<managementContext><managementContext createConnector="false"/></managementContext>"#.to_owned()),
            ("persistenceAdapter", self.persistence()),
            ("plugins", self.plugins()),
            ("transportConnectors", self.connectors()),
        ];
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
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="{name}" dataDirectory="{scratch}" persistent="true" restartAllowed="false" useJmx="true">
{body}  </broker>
</beans>
"#,
            name = self.name,
            scratch = paths::SCRATCH,
        )
    }

    /// A keep-alive of 0, the stock default, never checks the lock: two masters were seen with it.
    fn persistence(&self) -> String {
        format!(
            r#"<persistenceAdapter><kahaDB directory="{}" lockKeepAlivePeriod="{}"><locker><shared-file-locker lockAcquireSleepInterval="{}"/></locker></kahaDB></persistenceAdapter>"#,
            paths::KAHADB,
            millis(&self.lock.keep_alive),
            millis(&self.lock.poll),
        )
    }

    /// The login comes first; an authorization of the user's can name the groups `users` and `admins`.
    fn plugins(&self) -> String {
        let mut plugins = String::from(r#"<jaasAuthenticationPlugin configuration="activemq"/>"#);
        for plugin in &self.fragment.plugins {
            plugins.push_str(&plugin.text);
        }
        format!("<plugins>{plugins}</plugins>")
    }

    /// The agent's own listener comes last: connectors start in order, so when it greets, all the
    /// users' listeners are open.
    fn connectors(&self) -> String {
        let connector =
            |name: &str, uri: &str| format!(r#"<transportConnector name="{name}" uri="{uri}"/>"#);
        let listeners = self.listeners.iter().map(|listener| {
            let scheme = scheme(listener.protocol);
            let uri =
                format!("{scheme}://0.0.0.0:{}?wireFormat.maxFrameSize=104857600", listener.port);
            connector(&listener.name, &uri)
        });
        let greeting = connector("tandem-greeting", &format!("tcp://127.0.0.1:{GREETING_PORT}"));
        let connectors: Vec<String> = listeners.chain([greeting]).collect();
        format!("<transportConnectors>{}</transportConnectors>", connectors.concat())
    }
}

fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenWire => "tcp",
        Protocol::AMQP => "amqp",
        Protocol::MQTT => "mqtt",
        Protocol::STOMP => "stomp",
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

/// Everything to standard output, where `kubectl logs` finds it.
pub fn log_config() -> &'static str {
    // The broker's own shutdown hook still logs: log4j's must not end the log before it.
    "status = error\n\
     shutdownHook = disable\n\
     appenders = console\n\
     appender.console.type = Console\n\
     appender.console.name = console\n\
     appender.console.layout.type = PatternLayout\n\
     appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1} %m%n%throwable{full}\n\
     rootLogger.level = INFO\n\
     rootLogger.appenderRef.console.ref = console\n"
}

#[cfg(test)]
mod tests {
    use super::{super::fragment, *};

    fn render(xml: &str) -> String {
        let listeners =
            [Listener { name: "openwire".into(), protocol: Protocol::OpenWire, port: 61616 }];
        let fragment = fragment::parse(xml).unwrap();
        BrokerXml {
            name: "orders",
            listeners: &listeners,
            lock: &FileLock::default(),
            fragment: &fragment,
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
        fragment::parse(&text).unwrap();
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
