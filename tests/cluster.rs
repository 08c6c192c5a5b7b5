//! The jobs in `docs/cluster.md`: the Slurm array on a Slurm of its own, the Kubernetes Job with its variables.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(unix)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::program::program;
use pythia_tui::table::Reader;

const DOCS: &str = include_str!("../docs/cluster.md");

/// The block of the page that contains a text.
fn block(with: &str) -> String {
    let blocks = DOCS.split("\n```").skip(1).step_by(2);
    let found = blocks.map(|block| block.split_once('\n').unwrap().1).find(|block| block.contains(with));
    found.unwrap().to_string() + "\n"
}

/// Cells enough that a task runs for a while.
fn grid(dir: &Path) {
    let prompts: Vec<String> =
        (0..300).map(|i| format!("Mary and John {}", "went to the store, ".repeat(i % 30 + 1))).collect();
    fs::write(dir.join("prompts.txt"), prompts.join("\n")).unwrap();
    let text = "version = 1\nmodel = 'demo'\nmetric = 'kl'\n[grid]\nprompts = 'prompts.txt'\n\
                [[edit]]\nline = 'hook_embed *= 0.5'\n[[edit]]\nline = 'blocks.1.hook_mlp_out = 0'\n";
    fs::write(dir.join("grid.toml"), text).unwrap();
    fs::create_dir(dir.join("parts")).unwrap();
}

fn merge(dir: &Path) -> std::process::Output {
    let mut parts: Vec<String> =
        fs::read_dir(dir.join("parts")).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    parts.retain(|part| part.ends_with(".parquet"));
    let args: Vec<&str> =
        ["merge", "--out", "grid.parquet"].into_iter().chain(parts.iter().map(String::as_str)).collect();
    program(&args).current_dir(dir).output().unwrap()
}

/// The merged table is that of one run.
fn assert_whole(dir: &Path) {
    let merged = merge(dir);
    assert!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stderr));
    let whole = program(&["grid", "grid.toml", "--out", "whole.parquet"]).current_dir(dir).output().unwrap();
    assert!(whole.status.success());
    assert!(fs::read(dir.join("grid.parquet")).unwrap() == fs::read(dir.join("whole.parquet")).unwrap());
    assert_eq!(Reader::open(&dir.join("grid.parquet")).unwrap().len(), 300);
}

/// A Slurm controller and a node on this machine alone.
struct Slurm {
    conf: PathBuf,
    daemons: Vec<Child>,
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
    }
}

impl Slurm {
    /// None, with the reason on stderr, if the test is skipped.
    fn start(dir: &Path) -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("skipped: {why}");
            None
        };
        if std::env::var_os("PYTHIA_TUI_SLURM").is_none() {
            return skipped("PYTHIA_TUI_SLURM is not set, so no Slurm is started");
        }
        let missing = ["slurmctld", "slurmd", "sbatch"].into_iter().find(|name| which(name).is_none());
        if let Some(name) = missing {
            return skipped(&format!("there is no {name}; Debian's package is slurm-wlm"));
        }
        if output("id", &["-u"]).trim() != "0" {
            return skipped("slurmd needs root");
        }
        let (host, at) = (output("hostname", &["-s"]), dir.display());
        let host = host.trim();
        for name in ["state", "spool"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        let text = format!(
            "ClusterName=loopback\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort=16917\nSlurmdPort=16918\nSlurmUser=root\n\
             SlurmdUser=root\nAuthType=auth/none\nCredType=cred/none\nStateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool\n\
             SlurmctldPidFile={at}/slurmctld.pid\nSlurmdPidFile={at}/slurmd.pid\nSlurmctldLogFile={at}/slurmctld.log\n\
             SlurmdLogFile={at}/slurmd.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nMpiDefault=none\n\
             SchedulerParameters=sched_interval=1,batch_sched_delay=0\nAccountingStorageType=accounting_storage/none\n\
             JobAcctGatherType=jobacct_gather/none\nNodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        );
        let conf = dir.join("slurm.conf");
        fs::write(&conf, text).unwrap();
        let mut slurm = Self { conf, daemons: vec![] };
        for name in ["slurmctld", "slurmd"] {
            let mut daemon = Command::new(which(name).unwrap());
            daemon.arg("-D").arg("-f").arg(&slurm.conf).env("SLURM_CONF", &slurm.conf);
            slurm.daemons.push(daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            thread::sleep(Duration::from_secs(1));
        }
        wait("the node is idle", || slurm.call("sinfo", &["-h", "-o", "%t"], &[]).contains("idle"));
        Some(slurm)
    }

    fn call(&self, name: &str, args: &[&str], variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(which(name).unwrap());
        let path = Path::new(env!("CARGO_BIN_EXE_pythia-tui")).parent().unwrap().display().to_string();
        command
            .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
            .current_dir(self.conf.parent().unwrap());
        let out = command.args(args).env("SLURM_CONF", &self.conf).envs(variables.iter().copied()).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    /// Submit the job; returns its number.
    fn submit(&self, array: &str, variables: &[(&str, &str)]) -> String {
        let args = ["--parsable", "--array", array, "--mem=0", "--cpus-per-task=1", "--output=log-%a.txt", "job.sh"];
        let said = self.call("sbatch", &args, variables);
        let job = said.trim().to_string();
        assert!(job.chars().all(|c| c.is_ascii_digit()), "{said}");
        job
    }

    fn is_over(&self, job: &str) -> bool {
        !self.call("squeue", &["-h", "-j", job, "-t", "PENDING,RUNNING,COMPLETING"], &[]).contains(job)
    }
}

fn output(name: &str, args: &[&str]) -> String {
    String::from_utf8(Command::new(name).args(args).output().unwrap().stdout).unwrap()
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
    path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let began = Instant::now();
    while !until() {
        assert!(began.elapsed() < Duration::from_secs(120), "waiting until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_task_of_a_slurm_array_runs_again_and_nothing_is_lost_or_there_twice() {
    let dir = tempfile::tempdir().unwrap();
    let Some(slurm) = Slurm::start(dir.path()) else { return };
    grid(dir.path());
    fs::write(dir.path().join("job.sh"), block("#SBATCH --array")).unwrap();
    let job = slurm.submit("1-4", &[]);
    let journal = dir.path().join("parts/part-2-of-4.parquet.journal");
    let lines = || fs::read_to_string(&journal).unwrap_or_default().matches('\n').count();
    wait("the second task has done something", || lines() > 3);
    slurm.call("scancel", &["--signal=KILL", "--full", &format!("{job}_2")], &[]);
    wait("the array is over", || slurm.is_over(&job));
    let done = lines();
    assert!(1 < done && done < 76, "the task was killed between its cells: {done} of 75");
    let merged = merge(dir.path());
    assert_eq!(merged.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&merged.stderr).contains("1 of 4 shards are missing: 2"));
    let log = || fs::read_to_string(dir.path().join("log-2.txt")).unwrap();
    let again = slurm.submit("2", &[("SHARD", "2/4")]);
    wait("the task is over", || slurm.is_over(&again));
    assert!(log().contains(&format!("75 cells, {} of them earlier, 0 failed", done - 1)), "{}", log());
    assert_whole(dir.path());
    // `auto` does not take one task for the whole array
    let wrong = slurm.submit("2", &[]);
    wait("the task is over", || slurm.is_over(&wrong));
    assert!(log().contains("to run one task again, give --shard 2/N"), "{}", log());
}

/// What a manifest says at a path of keys, by its indentation: enough for plain YAML without anchors.
fn yaml<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

#[test]
fn the_kubernetes_job_sets_what_auto_reads() {
    let manifest = block("kind: Job");
    let completions = yaml(&manifest, "completions");
    assert_eq!(yaml(&manifest, "completionMode"), ["Indexed"]);
    assert_eq!(yaml(&manifest, "apiVersion"), ["batch/v1"]);
    let at = manifest.find("name: JOB_COMPLETIONS").unwrap();
    let value = yaml(&manifest[at..], "value")[0];
    assert_eq!(value.trim_matches('"'), completions[0], "every task knows how many there are");
    // the command of the manifest, with the variables of each of 3 tasks, the last first
    let dir = tempfile::tempdir().unwrap();
    grid(dir.path());
    let args: Vec<String> = serde_json::from_str(yaml(&manifest, "args")[0]).unwrap();
    let args: Vec<String> = args.iter().map(|arg| arg.replace("/data/", "")).collect();
    for index in ["2", "0", "1"] {
        let mut task = program(&args.iter().map(String::as_str).collect::<Vec<_>>());
        task.env("JOB_COMPLETION_INDEX", index).env("JOB_COMPLETIONS", "3").current_dir(dir.path());
        let out = task.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    assert_whole(dir.path());
}
