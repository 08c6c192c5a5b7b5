//! A hostile hub, or another user of a shared cache: nothing is written outside the cache, nothing grows or waits without
//! end, and the token is not sent to other hosts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{
    fixture,
    hub::{FakeHub, Fault, sha256},
};
use pythia_tui::model::{Cache, Hub, HubError, ModelError, Placement, Processing, Progress, Source, Waiting};
use tempfile::TempDir;

const NAME: &str = "EleutherAI/pythia-14m";
const WEIGHTS: &str = "model.safetensors";

struct Setting {
    server: FakeHub,
    cache: TempDir,
}

impl Setting {
    fn new() -> Self {
        let server = FakeHub::start();
        server.publish(NAME, "main", &fixture("parallel-25"));
        Self { server, cache: tempfile::tempdir().unwrap() }
    }

    fn client(&self) -> Hub {
        Hub {
            // deep enough that a path traversal stays in the temporary directory
            cache: Cache { directory: self.cache.path().join("a/b/c/hub") },
            endpoint: self.server.url(),
            token: None,
            offline: false,
            patience: Duration::from_millis(500),
            waits: vec![Duration::from_millis(10); 2],
        }
    }

    fn get(&self) -> Result<Source, ModelError> {
        self.client().get(NAME, "main", &mut |_| true)
    }

    fn blob(&self, ending: &str) -> PathBuf {
        self.client().cache.folder(NAME).join("blobs").join(format!("{}{ending}", sha256(&weights())))
    }
}

fn weights() -> Vec<u8> {
    fs::read(fixture("parallel-25").join(WEIGHTS)).unwrap()
}

fn is_right(source: &Source) {
    let Source::Snapshot { directory, .. } = source else { panic!("{source:?}") };
    assert!(fs::read(directory.join(WEIGHTS)).unwrap() == weights(), "the weights differ");
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn names_that_escape_the_cache_are_refused_before_any_request() {
    let setting = Setting::new();
    let hub = setting.client();
    let long = "x".repeat(300);
    for revision in ["../../../t/victim", "..", "/t", "a/../../b", ".hidden", "refs\\x", "a\nb", "", &long] {
        let refused = hub.get(NAME, revision, &mut |_| true).unwrap_err();
        assert!(matches!(&refused, ModelError::NoRevisionName(name) if name == revision), "{refused}");
        assert!(hub.cache.find(NAME, revision).is_err());
        assert!(hub.config(NAME, revision).is_err());
    }
    for repository in ["../x", "a/..", "a/b/c", "a", "a--b/c", "a/b?c", "a/b#c", "/etc/x"] {
        let refused = hub.get(repository, "main", &mut |_| true).unwrap_err();
        assert!(matches!(&refused, ModelError::NoName(name) if name == repository), "{refused}");
        assert!(hub.revisions(repository).is_err());
    }
    assert_eq!(setting.server.requests(), [""; 0]);
    assert_eq!(files(setting.cache.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn an_index_cannot_name_files_outside_the_snapshot() {
    for shard in ["../../../../../escaped", "/tmp/escaped", "a/b.safetensors", "..", ".hidden", "a?b"] {
        let setting = Setting::new();
        let config = fs::read(fixture("parallel-25").join("config.json")).unwrap();
        let index = serde_json::json!({"weight_map": {"x": shard}}).to_string().into_bytes();
        let files_of = [("config.json", config), ("model.safetensors.index.json", index), (shard, b"x".to_vec())];
        let files_of: BTreeMap<String, Vec<u8>> = files_of.into_iter().map(|(name, b)| (name.into(), b)).collect();
        setting.server.publish_files(NAME, "main", files_of);
        setting.get().unwrap_err();
        let inside = setting.client().cache.directory;
        assert!(files(setting.cache.path()).iter().all(|path| path.starts_with(&inside)), "{shard}");
    }
}

#[test]
fn an_endless_body_stops_at_the_listed_size() {
    for (path, file) in [("/cdn/", WEIGHTS), ("config.json", "config.json")] {
        let setting = Setting::new();
        setting.server.plan(path, Fault::Endless, usize::MAX);
        let message = setting.get().unwrap_err().to_string();
        assert!(message.contains(file) && message.contains("more than"), "{message}");
        let most = files(setting.cache.path()).iter().map(|path| path.metadata().unwrap().len()).max().unwrap();
        assert!(most <= weights().len() as u64, "{most} bytes were kept");
        // a single false answer is retried
        let setting = Setting::new();
        setting.server.plan(path, Fault::Endless, 1);
        is_right(&setting.get().unwrap());
    }
}

/// A server may ignore ranges if the client accepts compression; a connection that is cut again and again would then start
/// over.
#[test]
fn a_download_resumes_where_ranges_are_ignored_for_gzip() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Cdn(20_000), usize::MAX);
    is_right(&setting.get().unwrap());
}

#[test]
fn a_trickle_is_given_up() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Slow(1, Duration::from_millis(20)), usize::MAX);
    let began = Instant::now();
    let message = setting.get().unwrap_err().to_string();
    assert!(message.contains("bytes in 1.5 s"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_pause_for_the_rate_limit_is_reported_and_can_be_interrupted() {
    for path in ["/api/", WEIGHTS] {
        let setting = Setting::new();
        setting.server.plan(path, Fault::Status(429), usize::MAX);
        let is_pause = |progress: &Progress| matches!(progress.waiting, Waiting::ForHub(_));
        let stopped = setting.client().get(NAME, "main", &mut |progress| !is_pause(&progress));
        assert!(matches!(stopped, Err(ModelError::Hub(HubError::Stopped))), "{stopped:?}");
    }
}

#[test]
fn the_token_stays_with_the_scheme_host_and_port_of_the_endpoint() {
    let setting = Setting::new();
    // this server refuses requests for files that carry a token
    let other = FakeHub::start();
    other.publish(NAME, "main", &fixture("parallel-25"));
    setting.server.require_token("hf_secret");
    setting.server.redirect_to(&other.url());
    let hub = Hub { token: Some("hf_secret".into()), ..setting.client() };
    is_right(&hub.get(NAME, "main", &mut |_| true).unwrap());
    assert!(other.requests().iter().any(|request| request.starts_with("/cdn/")));
}

#[test]
fn endless_redirects_are_given_up() {
    let setting = Setting::new();
    let around = format!("{}/{NAME}/resolve/main/{WEIGHTS}?", setting.server.url());
    setting.server.redirect_to(&around);
    let message = setting.get().unwrap_err().to_string();
    assert!(message.contains("redirects without end"), "{message}");
}

#[test]
fn a_listed_but_missing_file_is_named() {
    let setting = Setting::new();
    setting.server.plan("/resolve/", Fault::Status(404), usize::MAX);
    let message = setting.get().unwrap_err().to_string();
    assert!(message.contains("lists config.json but does not have it"), "{message}");
}

#[test]
fn an_empty_file_is_fetched() {
    let setting = Setting::new();
    let read = |name: &str| (name.to_string(), fs::read(fixture("parallel-25").join(name)).unwrap());
    let empty = ("tokenizer.json".to_string(), vec![]);
    setting.server.publish_files(NAME, "main", BTreeMap::from([read("config.json"), read(WEIGHTS), empty]));
    let source = setting.get().unwrap();
    is_right(&source);
    let message = source.load(Processing::Folded, Placement::cpu()).err().unwrap().to_string();
    assert!(message.contains("tokenizer.json: not a readable tokenizer: it is empty"), "{message}");
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let setting = Setting::new();
    setting.get().unwrap();
    let damaged = setting.blob("");
    fs::write(&damaged, &weights()[..20_000]).unwrap();
    // without the hub it can't be repaired
    let offline = Hub { offline: true, ..setting.client() }.get(NAME, "main", &mut |_| true).unwrap();
    let message = offline.load(Processing::Folded, Placement::cpu()).err().unwrap().to_string();
    assert!(message.contains("it is truncated"), "{message}");
    is_right(&setting.get().unwrap());
}

#[cfg(unix)]
#[test]
fn links_in_a_shared_cache_are_not_followed() {
    let setting = Setting::new();
    let victim = setting.cache.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let (part, hub) = (setting.blob(".incomplete"), setting.client());
    let lock =
        hub.cache.directory.join(".locks/models--EleutherAI--pythia-14m").join(format!("{}.lock", sha256(&weights())));
    for link in [&part, &lock] {
        fs::create_dir_all(link.parent().unwrap()).unwrap();
    }
    std::os::unix::fs::symlink(&victim, &part).unwrap();
    is_right(&setting.get().unwrap());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

    fs::remove_file(setting.blob("")).unwrap();
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&victim, &lock).unwrap();
    let message = setting.get().unwrap_err().to_string();
    assert!(message.contains("can't write"), "{message}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
