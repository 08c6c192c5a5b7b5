//! Shared by the targets: panic handling, and a checkpoint directory whose files are the input.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, OnceLock, PoisonError},
};

use pythia_tui::model::{Loaded, ModelError, Placement, Processing, Source};

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Replace libFuzzer's panic hook, which would end the process at every panic; to be called in a target's `init`. The
/// program turns some panics of its libraries into errors, so only a panic that leaves [`checked`] is a finding.
pub fn set_up() {
    std::panic::set_hook(Box::new(|info| {
        let trace = std::backtrace::Backtrace::force_capture();
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = format!("{info}\n{trace}");
    }));
}

/// Run the body of a target. A panic in it is printed and aborts the process, which libFuzzer reports as a crash.
pub fn checked(body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        eprintln!("{}", LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner));
        process::abort();
    }
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/formats").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A directory of this process, in memory if possible, with the config of the fixtures in `tests/fixtures/formats`.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let directory = base.join(format!("pythia-tui-fuzz-{}", process::id()));
        fs::create_dir_all(&directory).expect("a scratch directory");
        fs::write(directory.join("config.json"), fixture("f32/config.json")).expect("its config");
        directory
    })
}

/// Write a file into the checkpoint directory.
pub fn put(name: &str, bytes: &[u8]) {
    fs::write(directory().join(name), bytes).expect("a file of the checkpoint");
}

/// Load the checkpoint directory.
pub fn load() -> Result<Loaded, ModelError> {
    let loaded = Source::Directory(directory().into()).load(Processing::Folded, Placement::cpu());
    // printing the error must not panic either
    if let Err(error) = &loaded {
        let _ = error.to_string();
    }
    loaded
}
