//! Storage on a simulated disk: crashes at every operation and failures of every operation, compared with an oracle.
//!
//! | file | purpose |
//! |---|---|
//! | `rows.rs` | entries whose rows can be told apart |
//! | `scenario.rs` | what is done to a store, by a seed; a kind of work that storage learns gets an [`scenario::Action`] |
//! | `oracle.rs` | what must be there, by what the one who appended was told |
//! | `machine.rs` | a disk and a catalog, with or without power |
//! | `recording.rs` | a scenario carried out once, with every moment of it kept |
//! | `crash.rs` | one crash: recovery, crash of the recovery, recovery, and going on |
//! | `fault.rs` | operations that fail, a disk that is full now and then, and a power cut afterwards |
//! | `user_tables.rs` | the same for transactions on user tables |
//!
//! SQLite does its own file work: its COMMIT is one more operation at which the power may go, and takes place or does not.
//!
//! The same seed gives the same operations and the same sectors that survive; names of files and salts are random.
//! `ALULA_SIM_CRASHES` is the number of moments at which the power is cut, each in four modes.

mod crash;
mod fault;
mod machine;
mod oracle;
mod recording;
mod rows;
mod scenario;
mod tests;
mod user_tables;

const TENANTS: [&str; 3] = ["a", "b", "c"];

pub(crate) use machine::temporary_dir;

/// The tenant of this name that lives as long as the program.
fn tenant_name(name: &str) -> Option<&'static str> {
    TENANTS.into_iter().find(|tenant| *tenant == name)
}
