//! Runs the program in a pseudo-terminal.

use std::{
    io::{Read, Write},
    num::NonZero,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::termios::LocalFlags;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::{MouseProtocolMode, Parser};

pub const LONG: Duration = Duration::from_secs(60);

pub struct Session {
    pub master: Option<Box<dyn MasterPty + Send>>,
    pub input: Option<Box<dyn Write + Send>>,
    pub child: Box<dyn Child + Send + Sync>,
    pub screen: Arc<Mutex<Parser>>,
    pub bytes: Arc<Mutex<Vec<u8>>>,
    /// If set, the reader closes the terminal after the next output.
    pub deaf: Arc<AtomicBool>,
    _state: tempfile::TempDir,
}

impl Session {
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_in(Path::new("."), args, env)
    }

    pub fn start_in(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_pythia-tui"));
        command.args(args);
        Self::spawn(dir, command, env)
    }

    /// Run an ignored test of this test binary instead of the program.
    pub fn this_test(name: &str) -> Self {
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", name]);
        Self::spawn(Path::new("."), command, &[])
    }

    /// Run a shell script with job control, in which `"$0"` is the program.
    pub fn shell(script: &str, env: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new("sh");
        command.args(["-m", "-c", script, env!("CARGO_BIN_EXE_pythia-tui")]);
        Self::spawn(Path::new("."), command, env)
    }

    fn spawn(dir: &Path, mut command: CommandBuilder, env: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env("HF_HUB_CACHE", "/nonexistent");
        command.env("HF_HUB_OFFLINE", "1");
        command.env("XDG_CONFIG_HOME", "/nonexistent");
        let state = tempfile::tempdir().unwrap();
        command.env("XDG_STATE_HOME", state.path());
        command.cwd(dir);
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        let screen = Arc::new(Mutex::new(Parser::new(NonZero::new(24).unwrap(), NonZero::new(80).unwrap(), 0)));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let deaf = Arc::new(AtomicBool::new(false));
        let input = pair.master.take_writer().unwrap();
        // only the child keeps the slave open, so that its end is noticed
        drop(pair.slave);
        let session = Self { master: Some(pair.master), input: Some(input), child, screen, bytes, deaf, _state: state };
        session.listen();
        session
    }

    /// Read the output of the program until the session stops reading.
    pub fn listen(&self) {
        self.deaf.store(false, Ordering::SeqCst);
        let mut reader = self.master.as_ref().unwrap().try_clone_reader().unwrap();
        let (seen, count, stop) = (self.screen.clone(), self.bytes.clone(), self.deaf.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().process(&buffer[..n]);
                count.lock().unwrap().extend_from_slice(&buffer[..n]);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// All output, including control sequences.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Wait until the screen contains this text.
    pub fn wait_for(&self, what: &str) {
        self.wait_until(&format!("no {what:?} on the screen"), || self.text().contains(what));
    }

    /// Wait until a condition holds; `failure` is the message if it never does.
    pub fn wait_until(&self, failure: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < LONG, "{failure}:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn press(&mut self, keys: &str) {
        self.input.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub fn signal(&self, signal: i32) {
        send(self.child.process_id().unwrap(), signal);
    }

    /// Resize the terminal and the parsed screen.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(NonZero::new(rows).unwrap(), NonZero::new(cols).unwrap());
        self.master.as_ref().unwrap().resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Close the terminal, as closing its window does, and return the exit status.
    pub fn close(mut self) -> portable_pty::ExitStatus {
        self.deaf.store(true, Ordering::SeqCst);
        // causes output, with which the reader notices
        self.press("]");
        self.input.take();
        self.master.take();
        self.status()
    }

    /// Wait for the program to end.
    pub fn status(&mut self) -> portable_pty::ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < LONG, "it does not end:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the line discipline echoes and edits lines, as a shell expects.
    pub fn cooked(&self) -> bool {
        let termios = self.master.as_ref().unwrap().get_termios().unwrap();
        termios.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON)
    }

    /// Wait for the program to end, and check that it restored the terminal.
    pub fn ends_clean(mut self) {
        self.status();
        self.is_given_back();
    }

    /// Wait until the terminal is in the modes that a shell expects.
    pub fn is_given_back(&self) {
        let clean = |s: &vt100::Screen| {
            !s.alternate_screen()
                && !s.hide_cursor()
                && !s.bracketed_paste()
                && s.mouse_protocol_mode() == MouseProtocolMode::None
        };
        self.wait_until("the terminal was not given back", || clean(self.screen.lock().unwrap().screen()));
        self.wait_until("the terminal is still in raw mode", || self.cooked());
    }
}

pub fn send(pid: u32, signal: i32) {
    let sent = std::process::Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success());
}
