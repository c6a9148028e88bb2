//! Where questions run: in the node's own process, or on a cluster.

use super::{ConfigError, EngineConfig, Source, check::within, file, suggest};

const EMBEDDED: &str = "embedded";
const BALLISTA: &str = "ballista";
/// What the scheduler's address begins with.
const SCHEME: &str = "df://";
const DEFAULT_PARTITIONS: usize = 16;
const MOST_PARTITIONS: usize = 4_096;

/// Checks the engine. `prepared`: whether there are prepared tables.
pub fn engine(
    source: Source<'_>,
    engine: Option<&file::Engine>,
    prepared: bool,
) -> Result<EngineConfig, ConfigError> {
    let Some(engine) = engine else {
        return Ok(EngineConfig::Embedded);
    };
    let kind = engine.kind.get_ref().as_str();
    match (kind, &engine.scheduler) {
        (EMBEDDED, None) if engine.partitions.is_none() => Ok(EngineConfig::Embedded),
        (EMBEDDED, _) => Err(source.error(
            engine.kind.span(),
            "the embedded engine has neither a scheduler nor partitions",
            "leave them out, or write kind = \"ballista\"",
        )),
        (BALLISTA, None) => Err(source.error(
            engine.kind.span(),
            "a Ballista engine needs its scheduler's address",
            "add it as in scheduler = \"df://127.0.0.1:50050\"",
        )),
        (BALLISTA, Some(_)) if prepared => Err(source.error(
            engine.kind.span(),
            "prepared tables are read by the embedded engine alone",
            "leave out `prepared`: the cluster reads the tables' own files",
        )),
        (BALLISTA, Some(scheduler)) => {
            let address = scheduler.get_ref().strip_prefix(SCHEME);
            let address = address.map(|address| address.trim_end_matches('/'));
            let has_port = address
                .and_then(|address| address.rsplit_once(':'))
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            match address {
                Some(address) if has_port => Ok(EngineConfig::Ballista {
                    scheduler: address.to_owned(),
                    partitions: within(
                        source,
                        "partitions",
                        engine.partitions.as_ref(),
                        DEFAULT_PARTITIONS,
                        2..=MOST_PARTITIONS,
                    )?,
                }),
                Some(_) | None => Err(source.error(
                    scheduler.span(),
                    "`scheduler` is no address of a Ballista scheduler",
                    "write it as in \"df://127.0.0.1:50050\"",
                )),
            }
        }
        (_, _) => Err(source.error(
            engine.kind.span(),
            format!("there is no engine `{kind}`"),
            suggest(kind, &[EMBEDDED, BALLISTA]),
        )),
    }
}
