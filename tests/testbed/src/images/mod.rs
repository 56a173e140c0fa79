//! The images the test bed runs, made from Debian packages, Maven Central and the installed JDK.
//!
//! No registry is asked for anything. The broker's image stands in for the official one: same
//! directories, user, environment, start command and configuration, so what runs on it runs on that
//! one too, and starts as fast. Of the official one's web server it has Jolokia and not the console.

mod jdk;
mod layers;
mod oci;

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{Cache, digest_texts};
use layers::Layer;
use oci::Config;

/// What holds a pod's namespaces open.
pub const PAUSE: &str = "localhost/pause:1";
/// The stand-in for the official image of ActiveMQ Classic.
pub const CLASSIC: &str = "docker.io/apache/activemq:6.3.1";
/// Older versions, for updates from one to the other: their jars and the launcher, which is what Tandem
/// starts, on the same Java. Images of these are still under the name that they were published by.
pub const OLDER_CLASSICS: [&str; 2] =
    ["docker.io/apache/activemq-classic:5.18.4", "docker.io/apache/activemq-classic:6.1.8"];
/// The Java test clients of `tests/clients`.
pub const CLIENT: &str = "localhost/tandem-client:1";
/// JDBC drivers in `/drivers`, and nothing else.
pub const DRIVERS: &str = "localhost/tandem-drivers:1";
/// The operator, with nothing but its binary.
pub const OPERATOR: &str = "localhost/tandem:dev";

const JAVA_HOME: &str = "/opt/java/openjdk";
const CLASSIC_HOME: &str = "/opt/apache-activemq";
const CLASSIC_ENTRY: &str = "/usr/local/bin/entrypoint.sh";
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image in a file that `ctr -n k8s.io images import` takes.
#[derive(Clone, Debug)]
pub struct Image {
    /// The full reference, as a pod names it.
    pub name: String,
    /// An OCI archive that carries the reference.
    pub archive: PathBuf,
}

/// What images to make, and from what.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where layers and archives are kept.
    pub cache: PathBuf,
    /// The root of the checkout.
    pub project: PathBuf,
    /// The operator's static binary; without it there is no operator image.
    pub tandem: Option<PathBuf>,
}

/// Makes the images that are not in the cache yet and returns all of them.
pub fn ensure(request: &Request) -> Result<Vec<Image>> {
    let cache = Cache::at(&request.cache);
    let jdk = jdk::find()?;
    let base = layers::base(&cache)?;
    let jre = layers::jre(&cache, &jdk)?;

    let mut images = vec![
        image(&cache, PAUSE, &[layers::pause(&cache, &request.project)?], &pause_config())?,
        image(
            &cache,
            CLASSIC,
            &[
                base.clone(),
                jre.clone(),
                layers::classic(&cache, &request.project, &jdk, version(CLASSIC))?,
            ],
            &classic_config(),
        )?,
        image(
            &cache,
            CLIENT,
            &[base.clone(), jre.clone(), layers::client(&cache, &request.project, &jdk)?],
            &client_config(),
        )?,
        image(
            &cache,
            DRIVERS,
            &[layers::drivers(&cache, &request.project, &jdk)?],
            &Config::default(),
        )?,
    ];
    for name in OLDER_CLASSICS {
        let jars = layers::older_classic(&cache, &request.project, &jdk, version(name))?;
        let layers = [base.clone(), jre.clone(), jars];
        images.push(image(&cache, name, &layers, &older_classic_config())?);
    }
    if let Some(binary) = &request.tandem {
        let layer = layers::operator(&cache, binary)?;
        images.push(image(&cache, OPERATOR, &[layer], &operator_config())?);
    }
    Ok(images)
}

fn image(cache: &Cache, name: &str, layers: &[Layer], config: &Config) -> Result<Image> {
    let config = oci::config(layers, config)?;
    let kind = format!("image-{}", file_name(name));
    let entry = layers::entry(cache, &kind, &digest_texts(&[name, &config]), |path| {
        oci::write_archive(path, name, layers, &config)
    })?;
    Ok(Image { name: name.to_owned(), archive: entry.join(oci::ARCHIVE) })
}

/// `docker.io/apache/activemq:6.3.1` is kept as `activemq-6.3.1`.
fn file_name(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).replace(':', "-")
}

fn version(image: &str) -> &str {
    image.rsplit(':').next().unwrap_or(image)
}

fn pause_config() -> Config {
    Config { user: "65535:65535", entrypoint: vec!["/pause"], ..Config::default() }
}

fn classic_config() -> Config {
    Config {
        // A name, as in the official image: with `runAsNonRoot` a pod must give a number.
        user: "activemq",
        env: vec![
            format!("PATH={CLASSIC_HOME}/bin:{JAVA_HOME}/bin:{SYSTEM_PATH}"),
            format!("JAVA_HOME={JAVA_HOME}"),
            format!("ACTIVEMQ_HOME={CLASSIC_HOME}"),
            "LANG=C.UTF-8".to_owned(),
        ],
        entrypoint: vec![CLASSIC_ENTRY],
        command: vec!["activemq", "console"],
        working_directory: CLASSIC_HOME,
    }
}

/// Nothing to start by itself.
fn older_classic_config() -> Config {
    Config { entrypoint: Vec::new(), command: Vec::new(), ..classic_config() }
}

fn client_config() -> Config {
    Config {
        user: "65532:65532",
        env: vec![
            format!("PATH={JAVA_HOME}/bin:{SYSTEM_PATH}"),
            format!("JAVA_HOME={JAVA_HOME}"),
            "LANG=C.UTF-8".to_owned(),
        ],
        // Many of them share two cores: start fast, stay small, do not compile what runs once.
        entrypoint: vec![
            "/opt/java/openjdk/bin/java",
            "-Xmx64m",
            "-Xss512k",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-cp",
            "/opt/tandem-client/lib/*",
            "org.tandem.client.Main",
        ],
        working_directory: "/",
        ..Config::default()
    }
}

fn operator_config() -> Config {
    Config { user: "65532:65532", entrypoint: vec!["/tandem"], ..Config::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_kept_under_their_last_name() {
        assert_eq!(file_name(CLASSIC), "activemq-6.3.1");
        assert_eq!(file_name(OPERATOR), "tandem-dev");
    }
}
