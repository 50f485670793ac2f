//! The server's own log: stderr, text for people and JSON for machines.

use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::Once;

use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel};

/// Starts logging for the process. A subscriber that is already there (tests) is kept.
pub(crate) fn start(level: &LogLevel, format: LogFormat) {
    report_panics();
    let terminal = io::stderr().is_terminal();
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(level.filter()).with_writer(io::stderr);
    // The second start fails: the first one's log goes on.
    let _ = if text {
        builder.with_ansi(terminal).finish().try_init()
    } else {
        builder.json().flatten_event(true).finish().try_init()
    };
}

/// Reports panics as Rust does, but for those that a client has brought about and is told of: each of them would fill the log
/// with a backtrace.
fn report_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !alula_flight::is_expected_panic(panic) {
                report(panic);
            }
        }));
    });
}
