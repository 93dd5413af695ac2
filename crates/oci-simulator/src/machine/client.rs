//! The `systemctl` and `journalctl` that a simulated machine finds on its PATH.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::SOCKET;
use super::dependencies::full_name;
use super::verbs::{Request, Response};

/// Of a log, when no number of lines is given.
const MAX_LOG_BYTES: u64 = 4 << 20;

/// Passes its arguments on to the machine's init. Gives the code to end with.
pub fn systemctl(arguments: impl Iterator<Item = OsString>) -> i32 {
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    match ask(&Request { arguments }) {
        Ok(response) => {
            print!("{}", response.out);
            eprint!("{}", response.error);
            response.code
        }
        Err(error) => {
            eprintln!(
                "System has not been booted with systemd as init system (PID 1). Can't operate.\n{error}"
            );
            1
        }
    }
}

fn ask(request: &Request) -> Result<Response, String> {
    let path = std::env::var_os(SOCKET)
        .ok_or_else(|| format!("{SOCKET} is not set: this is no simulated machine"))?;
    let text = |error: &dyn std::fmt::Display| format!("{}: {error}", Path::new(&path).display());
    let mut stream = UnixStream::connect(&path).map_err(|error| text(&error))?;
    let mut line = serde_json::to_string(request).map_err(|error| text(&error))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(|error| text(&error))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(|error| text(&error))?;
    serde_json::from_str(&answer).map_err(|error| text(&error))
}

/// Prints what units have put out: `-u UNIT`, `-n LINES`. Gives the code to end with.
pub fn journalctl(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let (mut units, mut lines) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-u" | "--unit" => units.extend(arguments.next()),
            "-n" | "--lines" => lines = arguments.next().and_then(|text| text.parse::<usize>().ok()),
            other => match other.split_once('=') {
                Some(("--unit", unit)) => units.push(unit.to_owned()),
                Some(("--lines", text)) => lines = text.parse().ok(),
                _ => {}
            },
        }
    }
    let root = std::env::var_os("SALA_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    for unit in units {
        let path = root.join("var/log/units").join(format!("{}.log", full_name(&unit)));
        match tail(&path) {
            Ok(text) => {
                let all: Vec<&str> = text.lines().collect();
                let first = lines.map_or(0, |lines| all.len().saturating_sub(lines));
                all[first..].iter().for_each(|line| println!("{line}"));
            }
            Err(_) => println!("-- No entries --"),
        }
    }
    0
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
