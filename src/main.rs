//! The `alula` binary: allocator, runtime, exit code.

use std::io::Write as _;
use std::process::ExitCode;

// Page faults of the system allocator cost more than the copies they serve.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("alula").build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nothing is left to tell it to when stderr is gone.
            let _ = writeln!(std::io::stderr(), "error: cannot start the worker threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(alula::cli::run(std::env::args_os()));
    // A thread that still blocks, on a read of the terminal say, must not hold up the exit.
    runtime.shutdown_background();
    code
}
