//! The command: parse, call `cli`, map to an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenwatch::cli::main()
}
