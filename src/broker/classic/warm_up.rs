//! What a broker does before it waits for its lock, so that it need not do it once it has it.
//!
//! A JVM loads, verifies and initialises a class when it is first used. A broker that has just taken the lock
//! uses 700 for the first time, 1,000 if its clients speak all protocols, and its clients wait for that: half
//! of a failover (decision 20). A standby has time for it.

use super::paths;

/// The names, one on each line, of [`super::paths::WARM_UP_FILE`]: what brokers were seen to initialise
/// between the lock and the first messages, by `make warm-up`.
pub const CLASSES: &str = include_str!("warm-up.txt");

/// A bean that initialises them, before the broker's own. What is not in this version of the broker, or in
/// this Java, is skipped; so is everything if the list is not there, as beside an older agent.
pub fn bean() -> String {
    let path = format!("T(java.nio.file.Paths).get('{}/{}')", paths::AGENT, paths::WARM_UP_FILE);
    let files = "T(java.nio.file.Files)";
    let utils = "T(org.springframework.util.ClassUtils)";
    let known = format!("?[{utils}.isPresent(#this, null)]");
    let initialised =
        format!("![T(java.lang.Class).forName(#this, true, {utils}.getDefaultClassLoader())]");
    format!(
        r##"<bean id="warm-up" class="java.util.ArrayList"><constructor-arg value="#{{{files}.exists({path}) ? {files}.readAllLines({path}).{known}.{initialised} : {{}}}}"/></bean>"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_of_classes_with_names() {
        let names: Vec<&str> = CLASSES.lines().collect();
        assert!(names.is_sorted() && names.len() > 300, "{}", names.len());
        let plain =
            |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._$".contains(c));
        assert!(names.iter().all(|name| plain(name)));
    }
}
