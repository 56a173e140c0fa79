//! The command line of ActiveMQ Classic. The image's own entry point is not used: since 6.2.1 it
//! ends at once on SIGTERM, which kills the JVM in the middle of its work.

use super::paths;
use crate::{api::v1alpha1::Java, broker::settings::ChildSettings};

/// System properties that are Tandem's, each with all below it, and why.
const PROPERTIES: [(&str, &str); 14] = [
    ("java.nio.channels.FileLock.broken", "it switches the store's lock off"),
    ("activemq.", DIRECTORIES),
    ("org.apache.activemq.default.directory.prefix", DIRECTORIES),
    ("java.io.tmpdir", DIRECTORIES),
    ("java.class.path", "the broker's launcher makes the class path; put jars into the image"),
    ("java.security.auth.login.config", "users come from spec.auth"),
    ("log4j", LOG),
    ("log4j2", LOG),
    ("org.apache.logging", LOG),
    ("slf4j.", LOG),
    ("org.slf4j", LOG),
    ("java.util.logging", LOG),
    ("logging.", LOG),
    ("tandem.", "these properties are Tandem's"),
];
const DIRECTORIES: &str = "the directories are fixed";
const LOG: &str = "the log is part of how a broker is watched; use broker.log.levels";

/// Options other than properties that are Tandem's, by their beginning, and why.
const REFUSED: [(&str, &str); 12] = [
    ("-Xmx", HEAP),
    ("-XX:MaxHeapSize", HEAP),
    ("-XX:MaxRAMPercentage", HEAP),
    ("-XX:MaxRAMFraction", HEAP),
    ("-XX:MaxRAM=", HEAP),
    ("-XX:-ExitOnOutOfMemoryError", "a broker without memory must end, so that another one serves"),
    (
        "-XX:+CrashOnOutOfMemoryError",
        "a broker without memory must end, so that another one serves",
    ),
    ("-XX:Flags=", FILES),
    ("-XX:VMOptionsFile=", FILES),
    ("-XX:+ReadVMOptionsFile", FILES),
    ("-Xrs", "the broker would not stop on SIGTERM"),
    ("-XX:+ReduceSignalUsage", "the broker would not stop on SIGTERM"),
];
const HEAP: &str = "the heap comes from broker.java.heap";
const FILES: &str = "options in files cannot be checked; write them here";

/// How options begin that may be given. All of them are single words: one that wants another word
/// after it, such as `-jar`, would take the next option for it.
const ALLOWED: [&str; 17] = [
    "-D",
    "-X",
    "-ea",
    "-da",
    "-esa",
    "-dsa",
    "-enableassertions",
    "-disableassertions",
    "-javaagent:",
    "-agentlib:",
    "-agentpath:",
    "-verbose",
    "--add-opens=",
    "--add-exports=",
    "--add-modules=",
    "--add-reads=",
    "--enable-",
];

/// What is wrong with a user's option of the `java` command, if something is.
pub fn refusal(option: &str) -> Option<String> {
    let refused = |name: &str, why: &str| Some(format!("{name} is refused: {why}; remove it"));
    if option.starts_with('@') {
        return refused(option, FILES);
    }
    if !option.starts_with('-') {
        return Some(format!("{option:?} is no option of java: it does not begin with '-'"));
    }
    let name = option.split('=').next().unwrap_or(option);
    if let Some(property) = name.strip_prefix("-D") {
        let ours = PROPERTIES.iter().find(|(ours, _)| property.starts_with(ours));
        return ours.and_then(|(_, why)| refused(name, why));
    }
    if let Some((_, why)) = REFUSED.iter().find(|(start, _)| option.starts_with(start)) {
        return refused(name, why);
    }
    if !ALLOWED.iter().any(|start| option.starts_with(start)) {
        return Some(format!(
            "{option:?} is none of the options that may be given ({}...); remove it",
            ALLOWED.join("..., ")
        ));
    }
    None
}

/// The broker's process. `drivers` is a directory with jars beside the broker's own; the launcher
/// takes it only before its task's name.
pub fn child(java: &Java, drivers: Option<&str>) -> ChildSettings {
    // Of two options that say different things, the JVM takes the last.
    let mut arguments = java.options.clone();
    arguments.extend([
        heap(&java.heap),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        "-Djava.io.tmpdir=/tmp".to_owned(),
        format!("-Dactivemq.home={}", paths::HOME),
        format!("-Dactivemq.base={}", paths::HOME),
        format!("-Dactivemq.conf={}", paths::CONFIG),
        format!("-Dactivemq.data={}", paths::SCRATCH),
        format!("-Djava.security.auth.login.config={}/login.config", paths::CONFIG),
        format!("-Dlog4j2.configurationFile={}/log4j2.properties", paths::CONFIG),
    ]);
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
    fn options_that_undo_what_tandem_sets_are_refused() {
        assert!(refusal("-Djava.nio.channels.FileLock.broken=true").unwrap().contains("lock off"));
        for option in [
            "-Dactivemq.home=/x",
            "-Dlog4j.configurationFile=/x",
            "-Dlog4j2.configurationFile=/x",
            "-Dlog4j2.level=OFF",
            "-Dorg.apache.logging.log4j.level=OFF",
            "-Dslf4j.provider=x",
            "-Djava.security.auth.login.config==/x",
            "-Xmx4g",
            "-XX:MaxRAMPercentage=90",
            "-XX:-ExitOnOutOfMemoryError",
            "-XX:Flags=/x",
            "-XX:VMOptionsFile=/x",
            "-Xrs",
            "@/x",
            "jar",
            "-jar",
            "-cp",
            "-classpath",
            "--class-path=/x",
            "--module",
            "-version",
            "--add-opens",
        ] {
            let problem = refusal(option).unwrap_or_else(|| panic!("{option} is let in"));
            assert!(problem.contains("remove it") || problem.contains("no option"), "{problem}");
        }
    }

    #[test]
    fn options_of_the_users_own_are_let_in_and_come_before_tandems() {
        let options = [
            "-XX:+UseZGC",
            "-Xms256m",
            "-Xlog:gc*",
            "-Dmine=1",
            "-Dorg.apache.activemq.SERIALIZABLE_PACKAGES=*",
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "--enable-native-access=ALL-UNNAMED",
            "-javaagent:/agent.jar",
            "-ea",
        ]
        .map(str::to_owned);
        for option in &options {
            assert_eq!(refusal(option), None);
        }
        let java = Java { options: options.to_vec(), ..Java::default() };
        assert_eq!(child(&java, None).arguments[..options.len()], options);
    }
}
