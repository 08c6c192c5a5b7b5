//! Downloads from the hub, against a loopback server that also simulates faults.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    fixture,
    hub::{FakeHub, Fault, sha256},
};
use pythia_tui::model::{Cache, Hub, HubError, ModelError, Placement, Processing, Progress, Source};
use tempfile::TempDir;

const NAME: &str = "EleutherAI/pythia-14m";
const WEIGHTS: &str = "model.safetensors";

/// A hub with one model, and an empty cache.
struct Setting {
    server: FakeHub,
    commit: String,
    cache: TempDir,
}

impl Setting {
    fn new() -> Self {
        Self::with("parallel-25")
    }

    fn with(fixture_name: &str) -> Self {
        let server = FakeHub::start();
        let commit = server.publish(NAME, "main", &fixture(fixture_name));
        Self { server, commit, cache: tempfile::tempdir().unwrap() }
    }

    fn client(&self) -> Hub {
        Hub {
            cache: Cache { directory: self.cache.path().into() },
            endpoint: self.server.url(),
            token: None,
            offline: false,
            patience: Duration::from_secs(2),
            waits: vec![Duration::from_millis(10); 3],
        }
    }

    fn get(&self) -> Result<Source, ModelError> {
        self.client().get(NAME, "main", &mut |_| true)
    }

    fn folder(&self) -> PathBuf {
        self.client().cache.folder(NAME)
    }

    /// The partial download of the weights.
    fn partial(&self) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", sha256(&weights())))
    }

    /// The requested ranges of the weights, without requests for their length.
    fn ranges(&self) -> Vec<String> {
        let asked = self.server.requests().into_iter().filter(|r| r.starts_with("/cdn/") && r.contains(WEIGHTS));
        asked
            .filter_map(|r| r.split_once(' ').map(|(_, range)| range.to_string()))
            .filter(|r| r != "bytes=0-0")
            .collect()
    }

    fn refused(&self, expected: &[&str]) -> String {
        let message = self.get().unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{message}");
        }
        message
    }
}

fn weights() -> Vec<u8> {
    fs::read(fixture("parallel-25").join(WEIGHTS)).unwrap()
}

fn is_right(source: &Source) {
    let Source::Snapshot { directory, .. } = source else { panic!("{source:?}") };
    let found = fs::read(directory.join(WEIGHTS)).unwrap();
    assert!(found == weights(), "{} bytes: {}", found.len(), String::from_utf8_lossy(&found[..found.len().min(99)]));
    source.load(Processing::Folded, Placement::cpu()).unwrap();
}

#[test]
fn a_download_has_the_layout_of_the_python_library() {
    let setting = Setting::new();
    let mut reported = Vec::new();
    let source = setting
        .client()
        .get(NAME, "main", &mut |progress| {
            reported.push(progress);
            true
        })
        .unwrap();
    is_right(&source);
    let (folder, commit) = (setting.folder(), &setting.commit);
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), *commit);
    assert_eq!(fs::read_dir(folder.join("refs")).unwrap().count(), 1, "nothing else is named");
    let link = fs::read_link(folder.join("snapshots").join(commit).join(WEIGHTS)).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    let Some(Progress { done, total, .. }) = reported.last() else { panic!("nothing was reported") };
    assert_eq!(done, total);
    assert!(*total > weights().len() as u64 && reported.iter().is_sorted_by_key(|progress| progress.done));
    // a partial file of a killed process is not a revision
    fs::write(folder.join("refs/.77-0"), commit).unwrap();
    assert_eq!(setting.client().cache.revisions(NAME).len(), 1);
    // from then on, nothing is requested
    setting.server.requests();
    is_right(&setting.get().unwrap());
    let offline = Hub { offline: true, ..setting.client() };
    assert!(offline.get(NAME, "main", &mut |_| true).is_ok());
    assert!(offline.get(NAME, commit, &mut |_| true).is_ok(), "a commit is a revision, too");
    assert!(setting.server.requests().is_empty());
    let message = offline.get(NAME, "step3000", &mut |_| true).unwrap_err().to_string();
    assert!(message.contains("step3000") && message.contains("--offline"), "{message}");
    let cached = setting.client().cache.models();
    assert_eq!(cached[NAME][0].revision, "main");
}

#[test]
fn files_shared_with_another_revision_are_not_fetched_again() {
    let setting = Setting::new();
    setting.get().unwrap();
    setting.ranges();
    setting.server.publish(NAME, "step1000", &fixture("parallel-25"));
    is_right(&setting.client().get(NAME, "step1000", &mut |_| true).unwrap());
    assert!(setting.ranges().is_empty());
    let names: Vec<String> = setting.client().cache.revisions(NAME).into_iter().map(|cached| cached.revision).collect();
    assert_eq!(names, ["main", "step1000"]);
}

#[test]
fn shards_and_pickles_are_fetched() {
    for form in ["f16-shards", "f16-bin", "f16-bin-shards-buffers"] {
        let setting = Setting::with(&format!("formats/{form}"));
        setting.get().unwrap().load(Processing::Folded, Placement::cpu()).unwrap();
    }
}

#[test]
fn a_missing_repository_and_a_missing_revision_are_distinct_errors() {
    let setting = Setting::new();
    let get = |name: &str, revision: &str| setting.client().get(name, revision, &mut |_| true).unwrap_err().to_string();
    let message = get("EleutherAI/pythia-160m-dedupd", "main");
    assert!(
        message.contains("no EleutherAI/pythia-160m-dedupd on the hub")
            && message.contains("did you mean `pythia-160m-deduped`?"),
        "{message}"
    );
    assert!(message.contains("HF_TOKEN is not set"), "{message}");
    let message = get(NAME, "step3");
    assert!(message.contains("no revision `step3`") && message.contains("step1000"), "{message}");
    assert!(fs::read_dir(setting.folder()).is_err(), "a missing repository or revision leaves nothing behind");
}

#[test]
fn private_models_need_their_token() {
    let setting = Setting::new();
    setting.server.require_token("hf_secret");
    setting.refused(&["private", "HF_TOKEN is not set"]);
    let with = |token: &str| Hub { token: Some(token.into()), ..setting.client() }.get(NAME, "main", &mut |_| true);
    assert!(with("hf_wrong").unwrap_err().to_string().contains("the token that is set is not accepted"));
    is_right(&with("hf_secret").unwrap());
}

#[test]
fn a_busy_hub_is_retried_and_then_reported() {
    for (status, says) in [(429, "429"), (503, "status 503")] {
        let setting = Setting::new();
        setting.server.plan("/api/", Fault::Status(status), 2);
        setting.server.plan(WEIGHTS, Fault::Status(status), 3);
        is_right(&setting.get().unwrap());
        let setting = Setting::new();
        setting.server.plan(WEIGHTS, Fault::Status(status), usize::MAX);
        setting.refused(&[says]);
        let setting = Setting::new();
        setting.server.plan("/api/", Fault::Status(status), usize::MAX);
        setting.refused(&[says]);
        let refused = setting.get().unwrap_err();
        assert!(matches!(refused, ModelError::Hub(why) if why.is_unreachable()));
    }
}

#[test]
fn an_unreachable_hub_fails_fast() {
    let setting = Setting::new();
    let began = Instant::now();
    let unreachable = Hub { endpoint: "http://127.0.0.1:1".into(), ..setting.client() };
    let error = unreachable.get(NAME, "main", &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("can't reach the hub at http://127.0.0.1:1"), "{error}");
    assert!(matches!(error, ModelError::Hub(why) if why.is_unreachable()));
    assert!(began.elapsed() < Duration::from_secs(5));
    let nonsense = Hub { endpoint: "huggingface.co".into(), ..setting.client() };
    assert!(nonsense.get(NAME, "main", &mut |_| true).unwrap_err().to_string().contains("https://"));
}

#[test]
fn a_cut_connection_resumes_where_it_broke() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Cut(20_000), 2);
    is_right(&setting.get().unwrap());
    assert_eq!(setting.ranges(), ["bytes=0-", "bytes=20000-", "bytes=40000-"]);
    // after a restart of the program, too
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Cut(20_000), 1);
    setting.server.plan("/cdn/", Fault::Status(500), 3);
    setting.refused(&["status 500"]);
    assert!(setting.client().cache.find(NAME, "main").is_err(), "a partial download is not a model");
    assert_eq!(fs::metadata(setting.partial()).unwrap().len(), 20_000);
    setting.ranges();
    is_right(&setting.get().unwrap());
    assert_eq!(setting.ranges(), ["bytes=20000-"]);
}

#[test]
fn a_connection_that_is_always_cut_is_given_up() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Cut(0), usize::MAX);
    setting.refused(&[
        "the download of model.safetensors was interrupted after 0 B of 57.82 kB",
        "the next attempt resumes there",
    ]);
}

#[test]
fn stale_partial_files_are_discarded() {
    let complete = weights();
    for stale in [vec![7; 1000], vec![7; complete.len()], vec![7; complete.len() + 5], complete.clone()] {
        let setting = Setting::new();
        fs::create_dir_all(setting.partial().parent().unwrap()).unwrap();
        fs::write(setting.partial(), &stale).unwrap();
        is_right(&setting.get().unwrap());
    }
}

#[test]
fn a_server_that_ignores_ranges_restarts_the_file() {
    let setting = Setting::new();
    fs::create_dir_all(setting.partial().parent().unwrap()).unwrap();
    fs::write(setting.partial(), &weights()[..1000]).unwrap();
    setting.server.plan("/cdn/", Fault::Whole, 1);
    is_right(&setting.get().unwrap());
}

#[test]
fn a_file_that_differs_from_the_listing_is_discarded() {
    for (fault, says) in [(Fault::Short(100), "bytes instead of 57816"), (Fault::Changed, "its checksum differs")] {
        let setting = Setting::new();
        setting.server.plan("/cdn/", fault.clone(), 1);
        is_right(&setting.get().unwrap());
        let setting = Setting::new();
        setting.server.plan("/cdn/", fault, 2);
        setting.refused(&["model.safetensors is not as the hub lists it", says]);
        assert!(setting.client().cache.find(NAME, "main").is_err());
        is_right(&setting.get().unwrap());
    }
}

#[test]
fn a_slow_connection_is_kept_and_a_silent_one_given_up() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Slow(8_000, Duration::from_millis(300)), 1);
    is_right(&setting.get().unwrap());
    // a silent connection is given up, and the rest is requested on another
    let setting = Setting::new();
    let short = || Hub { patience: Duration::from_millis(700), ..setting.client() };
    setting.server.plan("/cdn/", Fault::Silence(8_000), 1);
    is_right(&short().get(NAME, "main", &mut |_| true).unwrap());
    assert_eq!(setting.ranges(), ["bytes=0-", "bytes=8000-"]);
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Silence(0), usize::MAX);
    let began = Instant::now();
    let hub = Hub { patience: Duration::from_millis(500), ..setting.client() };
    let message = hub.get(NAME, "main", &mut |_| true).unwrap_err().to_string();
    assert!(message.contains("interrupted after 0 B of 57.82 kB: no data for 0.5 s"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_progress_callback_can_stop_a_download() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Slow(4_000, Duration::from_millis(100)), 1);
    let stopped = setting.client().get(NAME, "main", &mut |progress| progress.done < 20_000);
    assert!(matches!(stopped, Err(ModelError::Hub(HubError::Stopped))), "{stopped:?}");
    assert!(fs::metadata(setting.partial()).unwrap().len() > 10_000, "the partial download is kept");
    is_right(&setting.get().unwrap());
}

/// A name from the hub can't lead out of the cache.
#[test]
fn a_commit_that_is_not_a_hash_is_refused() {
    let setting = Setting::new();
    setting.server.rename_commits("../../../../escaped");
    setting.refused(&["did not answer as a Hugging Face hub does", "its commit is"]);
    assert!(!setting.cache.path().join("../escaped").exists());
}

#[test]
fn a_missing_tokenizer_is_fetched_later() {
    let setting = Setting::with("../../assets/demo");
    let Source::Snapshot { directory, .. } = setting.get().unwrap() else { panic!() };
    fs::remove_file(directory.join("tokenizer.json")).unwrap();
    setting.get().unwrap();
    assert!(directory.join("tokenizer.json").is_file());
}

#[test]
fn two_concurrent_downloads_fetch_once() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Slow(20_000, Duration::from_millis(700)), 1);
    thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| setting.get()));
        for one in both {
            is_right(&one.join().unwrap().unwrap());
        }
    });
    assert_eq!(setting.ranges(), ["bytes=0-"], "it is fetched once");
    is_right(&setting.get().unwrap());
}

#[test]
fn an_unsupported_model_is_refused_before_its_weights_are_fetched() {
    let publish = |files: &[(&str, &str)]| {
        let setting = Setting::new();
        let files: BTreeMap<_, _> =
            files.iter().map(|(n, text)| ((*n).to_string(), text.as_bytes().to_vec())).collect();
        setting.server.publish_files(NAME, "main", files);
        setting
    };
    let llama = publish(&[("config.json", r#"{"model_type": "llama"}"#), (WEIGHTS, "gigabytes")]);
    llama.refused(&["holds no model for this program", "llama"]);
    assert!(llama.ranges().is_empty());
    publish(&[(WEIGHTS, "x")]).refused(&["no config.json"]);
    publish(&[("config.json", "{}"), ("tf_model.h5", "x")])
        .refused(&["neither model.safetensors nor pytorch_model.bin"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let setting = Setting::new();
    let file = setting.cache.path().join("file");
    fs::write(&file, "").unwrap();
    let blocked = Hub { cache: Cache { directory: file.join("hub") }, ..setting.client() };
    let message = blocked.get(NAME, "main", &mut |_| true).unwrap_err().to_string();
    assert!(message.contains("can't write to") && message.contains("file/hub"), "{message}");
}

/// The program, with this hub and cache.
fn program(setting: &Setting, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pythia-tui"));
    command
        .args(args)
        .env("HF_ENDPOINT", format!("{}/", setting.server.url()))
        .env("HF_HUB_CACHE", setting.cache.path());
    for unset in ["HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT"] {
        command.env_remove(unset);
    }
    command.env("HF_HOME", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
    command
}

#[test]
fn the_program_fetches_a_named_model_once() {
    let setting = Setting::new();
    let run = ["run", "--model", "pythia-14m", "--tokens", "1,2", "--json"];
    let output = program(&setting, &run).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("fetching EleutherAI/pythia-14m (main, "), "{stderr}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["revision"], setting.commit);
    let models = program(&setting, &["models", "--json"]).output().unwrap();
    let models: serde_json::Value = serde_json::from_slice(&models.stdout).unwrap();
    let here = models.as_array().unwrap().iter().find(|model| model["name"] == "pythia-14m").unwrap();
    assert_eq!(here["cached"][0]["commit"], setting.commit);
    setting.server.requests();
    let again = program(&setting, &run).output().unwrap();
    assert!(again.status.success() && again.stderr.is_empty() && setting.server.requests().is_empty());
    let offline = program(&setting, &["run", "--offline", "--model", "pythia-31m", "--tokens", "1"]).output().unwrap();
    assert_eq!(offline.status.code(), Some(1));
    assert!(setting.server.requests().is_empty());
}

#[test]
fn structure_fetches_no_weights() {
    let setting = Setting::new();
    let output = program(&setting, &["structure", "--hooks", "--model", "pythia-14m"]).output().unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("blocks.1.attn.hook_z"));
    assert!(setting.ranges().is_empty());
    assert!(setting.client().cache.find(NAME, "main").is_err(), "a config is not a model");
    is_right(&setting.get().unwrap());
}

/// The process is killed in the middle of the download.
#[test]
fn a_killed_download_resumes() {
    let setting = Setting::new();
    setting.server.plan("/cdn/", Fault::Slow(8_000, Duration::from_millis(200)), 1);
    let run = ["run", "--model", "pythia-14m", "--tokens", "1,2"];
    let mut child = program(&setting, &run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(setting.partial()).map_or(0, |m| m.len()) == 0 {
        assert!(Instant::now() < deadline, "it never began");
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    setting.ranges();
    let output = program(&setting, &run).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(setting.ranges().iter().all(|range| range != "bytes=0-"), "it started over");
}

/// The Python library reads a cache of this program, and this program one of the library.
#[test]
fn the_cache_is_shared_with_the_python_library() {
    let Some(python) = std::env::var_os("REFERENCE_PYTHON") else {
        eprintln!("skipped: REFERENCE_PYTHON names no Python with huggingface_hub");
        return;
    };
    let setting = Setting::new();
    is_right(&setting.get().unwrap());
    let theirs = tempfile::tempdir().unwrap();
    let script = format!(
        "import sys\n\
         from huggingface_hub import hf_hub_download, scan_cache_dir, try_to_load_from_cache\n\
         ours, theirs = sys.argv[1:]\n\
         report = scan_cache_dir(ours)\n\
         assert not report.warnings, report.warnings\n\
         revision, = next(iter(report.repos)).revisions\n\
         assert revision.refs == {{'main'}} and len(revision.files) == 2, revision\n\
         assert isinstance(try_to_load_from_cache('{NAME}', '{WEIGHTS}', cache_dir=ours), str)\n\
         for file in ['config.json', '{WEIGHTS}']:\n    \
             hf_hub_download('{NAME}', file, cache_dir=theirs)\n"
    );
    let output = Command::new(python)
        .args(["-c", &script])
        .args([setting.cache.path(), theirs.path()])
        .env("HF_ENDPOINT", setting.server.url())
        .env_remove("HF_HUB_OFFLINE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cache = Cache { directory: theirs.path().into() };
    is_right(&cache.find(NAME, "main").unwrap());
    assert_eq!(cache.models()[NAME].len(), 1);
}
