//! Arguments, experiment files and settings: their positions, spellings and errors.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{
    fixture,
    program::{copy_of_micro, micro, program, refused, refused_model, stdout},
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn report(args: &[&str]) -> Value {
    let mut report: Value = serde_json::from_str(&stdout(args)).unwrap();
    report["time_ms"] = Value::Null;
    report
}

/// An experiment file in its own directory.
fn experiment(text: impl AsRef<[u8]>) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("experiment.toml");
    fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().into())
}

#[test]
fn options_before_a_subcommand_belong_to_it() {
    let (edit, other) = ("blocks.0.attn.hook_z[head=3] = 0", "blocks.1.hook_mlp_out = 0");
    let behind = report(&["run", "--model", "demo", "--json", "--top", "2", "Two tokens", "--edit", edit]);
    for before in [
        &["--model", "demo", "--edit", edit, "run", "--json", "--top", "2", "Two tokens"][..],
        &["--model=demo", "--device", "cpu", "--json", "--top", "2", "run", "Two tokens", "--edit", edit],
    ] {
        assert_eq!(report(before), behind);
    }
    // the last of several single values counts; repeatable values add up
    let both = report(&[
        "--model", "nothing", "--edit", edit, "--tokens", "5", "run", "--model", "demo", "--edit", other, "--tokens",
        "6,7", "--json",
    ]);
    let edits: Vec<_> = both["edits"].as_array().unwrap().iter().map(|e| e["edit"].as_str().unwrap()).collect();
    assert_eq!((both["model"].as_str(), edits), (Some("demo"), vec![edit, other]));
    assert_eq!((both["tokens"][0]["id"].as_u64(), both["tokens"].as_array().unwrap().len()), (Some(6), 2));
    assert_eq!(
        stdout(&["--device", "cpu", "--tokens", "1,2", "hooks", "--model", &micro()]),
        stdout(&["hooks", "--model", &micro(), "--tokens", "1,2"])
    );
    assert_eq!(stdout(&["--model", &micro(), "structure"]), stdout(&["structure", "--model", &micro()]));
    refused(&["--ascii", "run", "--model", "demo", "x"], 2, "unexpected argument '--ascii'");
    refused(&["--frobnicate", "run", "x"], 2, "unexpected argument '--frobnicate'");
    refused(&["--model", "demo", "run", "x", "--tokens", "1"], 2, "cannot be used with");
}

#[test]
fn a_prompt_may_equal_the_name_of_a_subcommand() {
    refused(&["--model", "demo", "--", "run"], 2, "the explorer needs a terminal");
    refused(&["--", "models"], 2, "the explorer needs a terminal");
    let tokens = |args: &[&str]| report(&[args, &["--json"]].concat())["tokens"].clone();
    let text = tokens(&["run", "--model", "demo", "run"]);
    assert_eq!(tokens(&["--model", "demo", "run", "run"]), text);
    let all = ["run", "--json", "--model", "demo", "--", "run"];
    assert_eq!(report(&all)["tokens"], text);
}

#[test]
fn help_and_completions_work_before_and_after_the_subcommand() {
    let help = stdout(&["--help"]);
    assert!(help.contains("pythia-tui [OPTIONS] <COMMAND>") && help.contains("after `--`"), "{help}");
    assert_eq!(stdout(&["--help", "run"]), help);
    assert!(stdout(&["--model", "demo", "run", "--help"]).contains("--export-python"));
    let ask = |words: &[&str]| {
        let mut asked = program(&[&["--", "pythia-tui"], words].concat());
        asked.env("PYTHIA_TUI_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        String::from_utf8(asked.env("_CLAP_IFS", " ").output().unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&["--model", "demo", "mod"]), "models");
    assert_eq!(ask(&["--model", "demo", "run", "--export"]), "--export-python");
    assert_eq!(ask(&["--offline", "run", "--revision", "step25"]), "step256 step25000");
}

#[test]
fn line_ends_and_a_byte_order_mark_do_not_change_an_experiment() {
    let text = "version = 1\nmodel = 'demo'\nprompt = \"\"\"\nTwo\ntokens\n\"\"\"\ncontrast = '''One\nword'''\n\
                # a note\n[[edit]]\nline = 'hook_embed[pos=0] = 1'\n";
    let run = |text: &str| {
        let (_dir, path) = experiment(text);
        report(&["run", "--experiment", &path, "--json"])
    };
    let expected = run(text);
    assert_eq!(run(&text.replace('\n', "\r\n")), expected);
    assert_eq!(run(&format!("\u{feff}{text}")), expected);
    assert_eq!(run(&format!("\u{feff}{}", text.replace('\n', "\r\n"))), expected);
    let ids = |report: &Value| -> Vec<Value> {
        report["tokens"].as_array().unwrap().iter().map(|token| token["id"].clone()).collect()
    };
    let with_ids = text.replace("contrast =", &format!("tokens = {}\ncontrast =", json!(ids(&expected))));
    assert_eq!(run(&with_ids.replace('\n', "\r\n")), expected);
    // escapes in the file are kept
    let escaped = run(&text.replace("Two\n", "Two\\r\n").replace('\n', "\r\n"));
    let spelt = report(&["run", "--model", "demo", "Two\r\ntokens\n", "--edit", "hook_embed[pos=0] = 1", "--json"]);
    assert_eq!(escaped["tokens"], spelt["tokens"]);
    assert_ne!(escaped["tokens"], expected["tokens"]);
    // and error positions stay right
    for text in [text.replace("pos=0", "pos=x"), text.replace("[[edit]]", "[[edits]]").replace("line =", "lime =")] {
        let message = |text: &str| {
            let (_dir, path) = experiment(text);
            let output = program(&["run", "--experiment", &path]).output().unwrap();
            String::from_utf8(output.stderr).unwrap().replace(&path, "")
        };
        let expected = message(&text);
        assert!(expected.contains(", line "), "{expected}");
        assert_eq!(message(&format!("\u{feff}{}", text.replace('\n', "\r\n"))), expected);
    }
}

#[cfg(unix)]
#[test]
fn tilde_and_variables_are_expanded_in_paths() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("model");
    fs::create_dir(&model).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture("parallel-25").join(file), model.join(file)).unwrap();
    }
    let run = |args: &[&str]| -> (i32, String) {
        let mut command = program(&[&["run", "--tokens", "1,2"], args].concat());
        let output = command.env("HOME", home.path()).env("MODEL", "model").env("DEMO", "demo").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for name in ["~/model", "$HOME/model", "${HOME}/$MODEL", "~/${MODEL}", "$DEMO"] {
        assert_eq!(run(&["--model", name]).0, 0, "{name}");
        let (_dir, path) = experiment(format!("version = 1\nmodel = '{name}'\n"));
        assert_eq!(run(&["--experiment", &path]).0, 0, "{name}");
    }
    let (code, message) = run(&["--model", "$NOT_SET/model"]);
    assert!(code == 1 && message.contains("no model directory at ") && message.contains("$NOT_SET/model"), "{message}");
    let (code, message) = run(&[
        "--model",
        "demo",
        "--log",
        "~/log",
        "--save-cache",
        "$HOME/cache.npz",
        "--export-python",
        "${HOME}/run.py",
    ]);
    assert_eq!(code, 0, "{message}");
    fs::write(home.path().join("a.toml"), "version = 1\nmodel = 'demo'\n").unwrap();
    assert_eq!(run(&["--experiment", "~/a.toml"]).0, 0);
    assert!(["log", "cache.npz", "run.py"].iter().all(|name| home.path().join(name).is_file()));
}

#[cfg(unix)]
#[test]
fn the_cache_directory_is_that_of_the_python_library() {
    let home = tempfile::tempdir().unwrap();
    for (variable, value, expected) in [
        ("HF_HUB_CACHE", "~/a", "a"),
        ("HF_HUB_CACHE", "$HOME/b", "b"),
        ("HUGGINGFACE_HUB_CACHE", "${HOME}/c", "c"),
        ("HF_HOME", "$HOME/d", "d/hub"),
        ("XDG_CACHE_HOME", "$HOME/e", "e/huggingface/hub"),
    ] {
        let mut command = program(&["models"]);
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        let output = command.env("HOME", home.path()).env(variable, value).output().unwrap();
        let expected = format!("the cache: {}\n", home.path().join(expected).display());
        assert!(String::from_utf8(output.stdout).unwrap().ends_with(&expected), "{variable}={value}");
    }
}

#[test]
fn an_unsuitable_prompt_is_a_usage_mistake_wherever_it_comes_from() {
    let long = "word ".repeat(3000);
    for (key, value, arguments, expected) in [
        ("prompt", json!(long), &[&*long][..], "context holds 512"),
        ("prompt", json!(""), &[""], "no tokens"),
        ("tokens", json!([1, 99_999]), &["--tokens", "1,99999"], "99999 is out of range"),
    ] {
        refused(&[&["run", "--model", "demo"], arguments].concat(), 2, expected);
        let (_dir, path) = experiment(format!("version = 1\nmodel = 'demo'\n{key} = {value}\n"));
        refused(&["run", "--experiment", &path], 2, expected);
    }
    refused(&["hooks", "--model", "demo", ""], 2, "no tokens");
    refused(&["run", "--model", "demo", "x", "--contrast", ""], 2, "no tokens");
    refused(&["sweep", "--model", "demo", "x", "--target", "#99999"], 2, "99999 is out of range");
    refused(&["sweep", "--model", "demo", "x", "--target", "not one token"], 2, "tokens, not one");
    refused(&["run", "--model", &micro(), "text"], 2, "--tokens");
    let (_dir, path) = experiment(format!("version = 1\nmodel = {:?}\nprompt = 'text'\n", micro()));
    refused(&["run", "--experiment", &path], 2, "--tokens");
}

#[test]
fn a_sweep_uses_the_metric_of_the_file_else_the_default_of_its_map() {
    let metric = |lines: &str, arguments: &[&str]| {
        let (_dir, path) = experiment(format!(
            "version = 1\nmodel = {:?}\ntokens = [5, 6, 7]\ncontrast-tokens = [5, 9, 7]\n{lines}\n",
            micro()
        ));
        let json = stdout(&[&["sweep", "--experiment", &path, "--json"], arguments].concat());
        serde_json::from_str::<Value>(&json).unwrap()["metric"].as_str().unwrap().to_string()
    };
    let patch = &["--patch", "resid_pre"][..];
    let patched = "[view]\ntab = 'sweep'\nhook = 'hook_embed'\nmap = 'resid_pre'";
    assert_eq!(metric("", &[]), "kl");
    assert_eq!(metric("", patch), "logit-diff");
    assert_eq!(metric(patched, &[]), "logit-diff");
    assert_eq!(metric(patched, &["--op", "= 0"]), "kl");
    assert_eq!(metric("metric = 'kl'", patch), "kl");
    assert_eq!(metric("metric = 'kl'", &["--patch", "resid_pre", "--metric", "prob"]), "prob");
}

#[test]
fn an_unsuitable_view_is_a_usage_mistake_in_headless_commands_too() {
    for (line, column, view, expected) in [
        (5, 7, "tab = 'shapes'\nhook = 'hook_embed'", "there is no view `shapes`"),
        (4, 1, "tab = 'shape'", "missing field `hook`"),
        (4, 1, "tab = 'shape'\nhook = 'blocks.9.hook_mlp_out'", "this model has no `blocks.9.hook_mlp_out`"),
        (4, 1, "tab = 'shape'\nhook = 'hook_embed'\nhead = 4", "head 4 is out of range: expected 0 to 3"),
        (4, 1, "tab = 'shape'\nhook = 'hook_embed'\nposition = 3", "position 3 is out of range: expected 0 to 2"),
    ] {
        let (_dir, path) =
            experiment(format!("version = 1\nmodel = {:?}\ntokens = [5, 6, 7]\n[view]\n{view}\n", micro()));
        for command in ["run", "sweep"] {
            refused(&[command, "--experiment", &path], 2, &format!("line {line}, column {column}: {expected}"));
        }
    }
    // the prompt may be shorter than the one that the view was saved with
    let view = "[view]\ntab = 'shape'\nhook = 'hook_embed'\nposition = 2";
    let (_dir, path) = experiment(format!("version = 1\nmodel = {:?}\ntokens = [5, 6, 7]\n{view}\n", micro()));
    stdout(&["run", "--experiment", &path, "--tokens", "5"]);
}

#[test]
fn exporting_a_16_bit_run_is_a_usage_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.py");
    for dtype in ["f16", "bf16"] {
        let export = ["run", "--model", "demo", "x", "--dtype", dtype, "--export-python", path.to_str().unwrap()];
        refused(&export, 2, &format!("--export-python: a script repeats runs in f32, and this one is in {dtype}"));
        assert!(!path.exists());
        // before the download
        refused(&[&export[..], &["--model", "/nonexistent/model"]].concat(), 2, "run it with --dtype f32");
    }
}

#[test]
fn errors_give_the_reason_once_and_its_position() {
    let once = |dir: &Path, reason: &str| {
        let output = program(&["run", "--model", dir.to_str().unwrap(), "--tokens", "1"]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message.matches(reason).count(), 1, "{message}");
        assert!(message.contains(dir.join("config.json").to_str().unwrap()), "{message}");
    };
    let config = |bytes: &[u8]| copy_of_micro(|dir| fs::write(dir.join("config.json"), bytes).unwrap());
    once(config(b"{\"a\": }").path(), "expected value at line 1 column 7");
    once(config(b"{}\n{\"a\": \xff}").path(), "line 2 is not UTF-8");
    let (_dir, path) = experiment(b"version = 1\n\nmodel = '\xff'\n");
    refused(&["run", "--experiment", &path], 2, "line 3 is not UTF-8; expected a UTF-8 text");
    refused(
        &["run", "--model", "demo", "--dtype", "f61", "x"],
        2,
        "there is no type `f61`; expected one of f32, f16, bf16; did you mean `f16`?",
    );
    let output = program(&["run", "--model", "pythia-70", "x"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.ends_with("lists what is there; did you mean `pythia-70m`?\n"), "{message}");
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_directories_are_refused_by_kind() {
    use std::{os::unix::fs::symlink, process::Command};
    let replaced = |make: &dyn Fn(&Path)| {
        copy_of_micro(|dir| {
            fs::remove_file(dir.join("config.json")).unwrap();
            make(&dir.join("config.json"));
        })
    };
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for (dir, expected) in [
        (replaced(&|_| ()), "has no config.json"),
        (
            replaced(&|path| symlink("../blobs/gone", path).unwrap()),
            "it is a link to ../blobs/gone, which is not there",
        ),
        (replaced(&|path| symlink("/dev/zero", path).unwrap()), "it is a device; expected a regular file"),
        (replaced(&|path| fs::create_dir(path).unwrap()), "it is a directory"),
        (replaced(&pipe), "it is a pipe"),
    ] {
        refused_model(dir.path(), expected);
    }
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo.toml");
    pipe(&fifo);
    refused(&["run", "--experiment", fifo.to_str().unwrap()], 2, "it is a pipe; expected a regular file");
    refused(&["run", "--experiment", "/dev/zero"], 2, "can't read /dev/zero: it is a device");
    // the token is optional, and a pipe in its place is not waited for
    let output = program(&["models"]).env("HF_TOKEN_PATH", &fifo).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_config_may_begin_with_a_byte_order_mark() {
    let dir = copy_of_micro(|dir| {
        let text = fs::read_to_string(dir.join("config.json")).unwrap();
        fs::write(dir.join("config.json"), format!("\u{feff}{text}")).unwrap();
    });
    let run = |model: &str| report(&["run", "--json", "--model", model, "--tokens", "5,6"])["positions"].clone();
    assert_eq!(run(dir.path().to_str().unwrap()), run(&micro()));
}

#[test]
fn a_config_with_huge_sizes_is_checked_against_the_weights_first() {
    let config = |changes: Value| {
        copy_of_micro(|dir| {
            let path = dir.join("config.json");
            let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            fs::write(path, json.to_string()).unwrap();
        })
    };
    let layers = config(json!({"num_hidden_layers": 4_194_304}));
    let path = layers.path().to_str().unwrap();
    refused(&["structure", "--model", path], 1, "num_hidden_layers is 4194304; expected a whole number from 1 to 1024");
    refused_model(config(json!({"hidden_size": 131_072, "vocab_size": 1_048_576})).path(), "does not fit");
    refused_model(
        config(json!({"hidden_size": 262_144, "num_hidden_layers": 1024})).path(),
        "parameters; expected at most",
    );
    refused_model(config(json!({"rotary_pct": 1e-300})).path(), "rotary_pct 1e-300 of");
    // the largest number of layers is listed, and an unused context costs nothing
    let large = config(json!({"num_hidden_layers": 1024, "max_position_embeddings": 4_194_304}));
    let listed = stdout(&["structure", "--hooks", "--model", large.path().to_str().unwrap()]);
    assert_eq!(listed.lines().count(), 1024 * 25 + 4);
    let long = config(json!({"max_position_embeddings": 4_194_304}));
    let run = |model: &str| report(&["run", "--json", "--model", model, "--tokens", "5,6"])["positions"].clone();
    assert_eq!(run(long.path().to_str().unwrap()), run(&micro()));
    let cache = tempfile::tempdir().unwrap();
    for (name, dir) in [("layers", &layers), ("large", &large)] {
        let repository = cache.path().join(format!("models--owner--{name}"));
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::create_dir_all(repository.join("snapshots")).unwrap();
        fs::write(repository.join("refs/main"), "0123").unwrap();
        fs::create_dir(repository.join("snapshots/0123")).unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(dir.path().join(file), repository.join("snapshots/0123").join(file)).unwrap();
        }
    }
    let output = program(&["models"]).env("HF_HUB_CACHE", cache.path()).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(list.contains("\nowner/large ") && !list.contains("owner/layers"), "{list}");
}

#[test]
fn the_password_in_the_endpoint_is_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for endpoint in ["http://user:hunter2@127.0.0.1:1", "user:hunter2@127.0.0.1:1", "http://user:hunter2@"] {
        let mut command = program(&["run", "--model", "pythia-14m", "x", "--log", log.to_str().unwrap()]);
        let output = command.env("HF_ENDPOINT", endpoint).env("HF_HUB_OFFLINE", "0").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let logged = fs::read_to_string(&log).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("hunter2") && !logged.contains("hunter2"), "{endpoint}: {said}\n{logged}");
    }
}
