//! A new password, from the terminal without echo, or from standard input.

use std::io::{self, IsTerminal as _, Read as _};

use crate::error::{CliError, Result};

/// As long as a password may be, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Never from the command line, which all users of the machine can see.
pub(crate) fn read_new() -> Result<String> {
    let password = match io::stdin().is_terminal() {
        true => typed_twice()?,
        false => piped()?,
    };
    if password.is_empty() {
        return Err(CliError::new(
            "the password is empty: give one, or --no-password for a user who has none",
        ));
    }
    Ok(password)
}

/// The only line of standard input.
fn piped() -> Result<String> {
    let mut text = String::new();
    let read = io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(CliError::cannot_read("the password from standard input"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(['\n', '\r']) || text.len() as u64 > MAX_BYTES {
        return Err(CliError::new("standard input must be one line with the password"));
    }
    Ok(line.to_owned())
}

#[cfg(unix)]
fn typed_twice() -> Result<String> {
    let password = terminal::hidden_line("Password: ")?;
    match terminal::hidden_line("Password (again): ")? == password {
        true => Ok(password),
        false => Err(CliError::new("the passwords differ: nothing was created")),
    }
}

#[cfg(not(unix))]
fn typed_twice() -> Result<String> {
    Err(CliError::new("this terminal would show the password: give it by standard input"))
}

#[cfg(unix)]
mod terminal {
    use std::io::{self, Read as _, Write as _};

    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    use crate::error::{CliError, Result};

    /// Restores the terminal, however the reading ends.
    struct Restore(Termios);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
            let _ = writeln!(io::stderr());
        }
    }

    /// Reads a line that is not echoed. Ctrl-C arrives as a character, or else it would leave the terminal
    /// without echo.
    pub(super) fn hidden_line(prompt: &str) -> Result<String> {
        let before = tcgetattr(io::stdin()).map_err(cannot_hide)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(cannot_hide)?;
        let _restore = Restore(before);
        let _ = write!(io::stderr(), "{prompt}");
        let mut line = Vec::new();
        for byte in io::stdin().lock().bytes() {
            match byte.map_err(CliError::cannot_read("the password"))? {
                b'\n' | b'\r' => {
                    let text = String::from_utf8(line);
                    return text.map_err(|_| CliError::new("the password is not UTF-8"));
                }
                // Ctrl-C, Ctrl-D.
                3 | 4 => break,
                // Ctrl-U.
                21 => line.clear(),
                8 | 127 => {
                    // The bytes of a character after its first.
                    while line.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
                }
                byte => line.push(byte),
            }
        }
        Err(CliError::new("interrupted: nothing was created"))
    }

    fn cannot_hide(error: rustix::io::Errno) -> CliError {
        CliError::new(format!("this terminal would show the password ({error}): give it by standard input"))
    }
}
