//! Environment variables that change what a broker does behind the back of its configuration.

/// Variables of the JVM, the launcher and log4j, and why they are not let in. What brings code of the user's
/// own, `LD_PRELOAD` for an allocator for example, is let in, as `-javaagent` is.
///
/// The JVM reads the first three by itself and puts their options before or after those of the command
/// line (JDK 17, `java` command). log4j takes any of its properties from the environment.
const NAMES: [(&str, &str); 5] = [
    ("JAVA_TOOL_OPTIONS", JAVA),
    ("JDK_JAVA_OPTIONS", JAVA),
    ("_JAVA_OPTIONS", JAVA),
    ("CLASSPATH", "the broker's launcher makes the class path; put jars into the image"),
    ("JAVA_OPTS", JAVA),
];

/// The same for whole families, compared without regard to case.
const PREFIXES: [(&str, &str); 3] = [
    ("ACTIVEMQ_", JAVA),
    ("LOG4J", "the log is part of how a broker is watched; use broker.log.levels"),
    ("SLF4J", "the log is part of how a broker is watched; use broker.log.levels"),
];

const JAVA: &str = "it changes the JVM's options past Tandem's own; use broker.java.options";

/// Why a broker is not given this variable, and what to do instead, if it is not.
pub fn refusal(name: &str) -> Option<&'static str> {
    let family = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let exact = NAMES.iter().find(|(refused, _)| *refused == name);
    exact.or_else(|| PREFIXES.iter().find(|(prefix, _)| family(prefix))).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_the_configuration_is_refused_and_the_rest_is_let_in() {
        for name in [
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "_JAVA_OPTIONS",
            "ACTIVEMQ_OPTS",
            "LOG4J_CONFIGURATION_FILE",
            // log4j looks for its properties by their own names too.
            "log4j2.configurationFile",
            "CLASSPATH",
        ] {
            assert!(refusal(name).is_some(), "{name}");
        }
        for name in ["JAVA_HOME", "PATH", "LD_PRELOAD", "TZ", "MALLOC_ARENA_MAX", "LOG", "Ä", ""] {
            assert_eq!(refusal(name), None, "{name}");
        }
    }
}
