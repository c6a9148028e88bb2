//! The query engine as this coordinator runs it: no files, no settings, no table functions, one
//! partition so that an answer's order is the same each time.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    catalog::TableProvider,
    common::{Result, TableReference},
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
};
use skerry_proto::planning;

use crate::{optimized::Optimized, statistics};

/// What the part above the frontiers may use at most.
const MEMORY_BYTES: usize = 1 << 30;

/// A session that knows the given tables.
pub(crate) fn state<'a>(
    tables: impl IntoIterator<Item = (&'a str, Arc<dyn TableProvider>)>,
) -> Result<SessionState> {
    let config = planning::session()
        .with_target_partitions(1)
        .with_extension(Arc::new(Optimized::new()));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()?;
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_table_functions(HashMap::new())
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    statistics::register(&mut state)?;
    for (name, table) in tables {
        let reference = TableReference::bare(name);
        state
            .schema_for_ref(reference)?
            .register_table(name.to_owned(), table)?;
    }
    Ok(state)
}

/// The session for one run, which `now()` is the time of.
pub(crate) fn started(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    state.mark_start_execution();
    state
}
