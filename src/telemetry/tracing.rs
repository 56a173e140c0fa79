//! The log.

use anyhow::Context as _;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The database drivers log what servers tell them, which may repeat a login. Whatever the filter says.
const SILENT: [&str; 3] = ["tokio_postgres=off", "postgres_protocol=off", "mysql_async=off"];

/// Logs to standard error from now on. `filter` is a directive such as `info` or `tandem=debug`.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    init_to(format, filter, std::io::stderr)
}

/// Logs to `writer` from now on.
pub fn init_to<W>(format: LogFormat, filter: &str, writer: W) -> anyhow::Result<()>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let mut filter = EnvFilter::try_new(filter).context("cannot read the log filter")?;
    for silent in SILENT {
        filter = filter.add_directive(silent.parse().context("cannot read a log filter")?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
