//! The command line of ActiveMQ Classic. The image's own entry point is not used: since 6.2.1 it
//! ends at once on SIGTERM, which kills the JVM in the middle of its work.

use super::paths;
use crate::{api::v1alpha1::Java, broker::settings::ChildSettings};

/// Options that would break what Tandem is for, and why.
const REFUSED: [(&str, &str); 6] = [
    ("-Djava.nio.channels.FileLock.broken", "it switches the store's lock off"),
    ("-Dactivemq.home", "the directories are fixed"),
    ("-Dactivemq.base", "the directories are fixed"),
    ("-Dactivemq.conf", "the directories are fixed"),
    ("-Dactivemq.data", "the directories are fixed"),
    ("-Djava.security.auth.login.config", "users come from spec.auth"),
];

/// What is wrong with a user's option of the `java` command, if something is.
pub fn refusal(option: &str) -> Option<String> {
    let name = option.split('=').next().unwrap_or(option);
    if !option.starts_with('-') {
        return Some(format!("{option:?} is no option of java: it does not begin with '-'"));
    }
    REFUSED
        .iter()
        .find(|(refused, _)| *refused == name)
        .map(|(refused, why)| format!("{refused} is refused: {why}; remove it"))
}

/// The broker's process. `drivers` is a directory with jars beside the broker's own; the launcher
/// takes it only before its task's name.
pub fn child(java: &Java, drivers: Option<&str>) -> ChildSettings {
    let mut arguments = vec![
        heap(&java.heap),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        "-Djava.io.tmpdir=/tmp".to_owned(),
        format!("-Dactivemq.home={}", paths::HOME),
        format!("-Dactivemq.base={}", paths::HOME),
        format!("-Dactivemq.conf={}", paths::CONFIG),
        format!("-Dactivemq.data={}", paths::SCRATCH),
        format!("-Djava.security.auth.login.config={}/login.config", paths::CONFIG),
        format!("-Dlog4j2.configurationFile={}/log4j2.properties", paths::CONFIG),
    ];
    arguments.extend(java.options.iter().cloned());
    arguments.extend(["-jar".to_owned(), format!("{}/bin/activemq.jar", paths::HOME)]);
    if let Some(directory) = drivers {
        arguments.extend(["--extdir".to_owned(), directory.to_owned()]);
    }
    arguments.extend(["start".to_owned(), format!("xbean:file:{}/activemq.xml", paths::CONFIG)]);
    ChildSettings { program: "java".to_owned(), arguments, signs: Some(paths::SIGNS.to_owned()) }
}

fn heap(heap: &str) -> String {
    match heap.strip_suffix('%') {
        Some(percent) => format!("-XX:MaxRAMPercentage={percent}"),
        None => format!("-Xmx{}", heap.trim_end_matches('i').to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_is_a_percentage_or_a_size() {
        for (heap_, option) in [
            ("50%", "-XX:MaxRAMPercentage=50"),
            ("2Gi", "-Xmx2g"),
            ("512Mi", "-Xmx512m"),
            ("1048576", "-Xmx1048576"),
        ] {
            assert_eq!(heap(heap_), option);
        }
    }

    #[test]
    fn drivers_come_before_the_task() {
        let arguments = child(&Java::default(), Some("/drivers")).arguments.join(" ");
        assert!(arguments.contains("activemq.jar --extdir /drivers start xbean:"), "{arguments}");
        assert!(!child(&Java::default(), None).arguments.contains(&"--extdir".to_owned()));
    }

    #[test]
    fn options_that_break_the_lock_or_the_layout_are_refused() {
        assert!(refusal("-Djava.nio.channels.FileLock.broken=true").unwrap().contains("lock off"));
        assert!(refusal("-Dactivemq.home=/x").is_some());
        assert!(refusal("jar").is_some());
        assert_eq!(refusal("-XX:+UseZGC"), None);
    }
}
