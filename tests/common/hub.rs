//! A loopback server with the paths of the Hugging Face hub, and faults on request.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::json;

/// How an answer goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    Status(u16),
    /// The connection closes after this many bytes of the body.
    Cut(usize),
    /// Nothing more is sent after this many bytes, but the connection stays open.
    Silence(usize),
    /// The body is sent in pieces of this many bytes, with a pause before each.
    Slow(usize, Duration),
    /// The range is ignored, and the whole file is sent.
    Whole,
    /// The connection closes after this many bytes of the body; ranges are ignored if the client accepts compression.
    Cdn(usize),
    /// This many bytes are missing from the body and from its length.
    Short(usize),
    /// The first byte is changed.
    Changed,
    /// Only headers are sent, as for HEAD.
    Bodiless,
    /// Endless zeros follow the body, and there is no length.
    Endless,
}

/// A fault for the next `times` requests whose path contains `path`.
struct Planned {
    path: String,
    fault: Fault,
    times: usize,
}

/// A commit and its files.
type Revision = (String, BTreeMap<String, Vec<u8>>);

#[derive(Default)]
struct State {
    /// By name and revision.
    revisions: BTreeMap<(String, String), Revision>,
    /// The token that requests must have.
    token: Option<String>,
    planned: Vec<Planned>,
    requests: Vec<String>,
    url: String,
    /// The base URL that large files are redirected to; by default this server under another host name.
    cdn: Option<String>,
}

#[derive(Clone)]
pub struct FakeHub(Arc<Mutex<State>>);

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Whether the hub stores this file with Git LFS, on another host.
fn is_large(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ["safetensors", "bin", "pt"].iter().any(|large| ending == *large))
}

/// Git's hash of a file.
fn blob(bytes: &[u8]) -> String {
    let content = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &content).as_ref())
}

impl FakeHub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self(Arc::default());
        hub.0.lock().unwrap().url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let serving = hub.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = serving.clone();
                // a client may disconnect early
                thread::spawn(move || drop(hub.answer(stream)));
            }
        });
        hub
    }

    pub fn url(&self) -> String {
        self.0.lock().unwrap().url.clone()
    }

    /// Publish the files of a directory; returns the commit.
    pub fn publish(&self, repository: &str, revision: &str, directory: &Path) -> String {
        let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        let entries = fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
        let files: BTreeMap<String, Vec<u8>> = entries.map(read).collect();
        self.publish_files(repository, revision, files)
    }

    pub fn publish_files(&self, repository: &str, revision: &str, files: BTreeMap<String, Vec<u8>>) -> String {
        let all: Vec<u8> = files.values().flatten().copied().chain(revision.bytes()).collect();
        let commit = blob(&all);
        let revisions = &mut self.0.lock().unwrap().revisions;
        revisions.insert((repository.into(), revision.into()), (commit.clone(), files.clone()));
        revisions.insert((repository.into(), commit.clone()), (commit.clone(), files));
        commit
    }

    pub fn plan(&self, path: &str, fault: Fault, times: usize) {
        self.0.lock().unwrap().planned.push(Planned { path: path.into(), fault, times });
    }

    /// Claim this commit for every revision.
    pub fn rename_commits(&self, name: &str) {
        for (commit, _) in self.0.lock().unwrap().revisions.values_mut() {
            *commit = name.into();
        }
    }

    pub fn require_token(&self, token: &str) {
        self.0.lock().unwrap().token = Some(token.into());
    }

    /// Redirect to another server for large files.
    pub fn redirect_to(&self, url: &str) {
        self.0.lock().unwrap().cdn = Some(url.into());
    }

    /// `PATH RANGE` of each request since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let planned = &mut self.0.lock().unwrap().planned;
        let at = planned.iter().position(|plan| plan.times > 0 && path.contains(&plan.path))?;
        planned[at].times -= 1;
        Some(planned[at].fault.clone())
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_string());
        }
        let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_string();
        let range = headers.get("range").map_or("", String::as_str).to_string();
        self.0.lock().unwrap().requests.push(format!("{path} {range}"));
        let allowed = {
            let state = self.0.lock().unwrap();
            state.token.as_ref().is_none_or(|token| headers.get("authorization") == Some(&format!("Bearer {token}")))
        };
        // faults apply to downloads, not to questions about a file such as `bytes=0-0`, which asks for its length
        let fault = match range.as_str() {
            _ if first.starts_with("HEAD") => Some(Fault::Bodiless),
            "bytes=0-0" => None,
            _ => self.fault(&path),
        };
        let compresses = headers.get("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
        let (fault, range) = match fault {
            Some(Fault::Cdn(n)) => (Some(Fault::Cut(n)), if compresses { String::new() } else { range }),
            fault => (fault, range),
        };
        if let Some(Fault::Status(status)) = fault {
            return refuse(&mut stream, status, "");
        }
        // what is published as `spaces/OWNER/NAME` is found below other paths than models
        let (path, of_space) = match path.replacen("/api/spaces/", "/api/models/", 1) {
            api if api != path => (api, "spaces/"),
            path => match (path.strip_prefix("/spaces/"), path.strip_prefix("/cdn/spaces/")) {
                (Some(rest), _) => (format!("/{rest}"), "spaces/"),
                (_, Some(rest)) => (format!("/cdn/{rest}"), "spaces/"),
                (None, None) => (path, ""),
            },
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, "revision", revision] => {
                let repository = format!("{of_space}{owner}/{name}");
                if !allowed || !self.0.lock().unwrap().revisions.keys().any(|(known, _)| *known == repository) {
                    return refuse(&mut stream, 401, "RepoNotFound");
                }
                let Some((commit, files)) = self.find(&repository, revision) else {
                    return refuse(&mut stream, 404, "RevisionNotFound");
                };
                let siblings: Vec<_> = files.iter().map(|(name, bytes)| sibling(name, bytes)).collect();
                let body = json!({"id": repository, "sha": commit, "siblings": siblings}).to_string();
                send(&mut stream, "200 OK", &[("content-type", "application/json".into())], body.as_bytes(), None)
            }
            ["api", "models", owner, name, "refs"] => {
                let state = self.0.lock().unwrap();
                let names = state.revisions.iter().filter(|((known, _), _)| *known == format!("{owner}/{name}"));
                let names = names.filter(|((_, revision), (commit, _))| revision != commit);
                let branches: Vec<_> =
                    names.map(|((_, name), (commit, _))| json!({"name": name, "targetCommit": commit})).collect();
                drop(state);
                let body = json!({"branches": branches, "tags": [], "converts": []}).to_string();
                send(&mut stream, "200 OK", &[("content-type", "application/json".into())], body.as_bytes(), None)
            }
            [owner, name, "resolve", revision, file @ ..] if allowed => {
                let (file, repository) = (&file.join("/"), format!("{of_space}{owner}/{name}"));
                let Some((commit, files)) = self.find(&repository, revision) else {
                    return refuse(&mut stream, 404, "RevisionNotFound");
                };
                let Some(bytes) = files.get(file) else { return refuse(&mut stream, 404, "EntryNotFound") };
                if is_large(file) {
                    // for the client this is another host
                    let host = self.0.lock().unwrap().cdn.clone();
                    let host = host.unwrap_or_else(|| self.url().replace("127.0.0.1", "localhost"));
                    let location = format!("{host}/cdn/{repository}/{commit}/{file}");
                    let headers = [
                        ("location", location),
                        ("x-repo-commit", commit),
                        ("x-linked-etag", format!("\"{}\"", sha256(bytes))),
                        ("x-linked-size", bytes.len().to_string()),
                        ("etag", "\"of the redirect\"".into()),
                    ];
                    return send(&mut stream, "302 Found", &headers, b"", None);
                }
                let headers = [("x-repo-commit", commit), ("etag", format!("\"{}\"", blob(bytes)))];
                ranged(&mut stream, &headers, bytes, &range, fault.as_ref())
            }
            // the token must not be sent to this host
            ["cdn", ..] if headers.contains_key("authorization") => refuse(&mut stream, 400, ""),
            ["cdn", owner, name, commit, file @ ..] => match self.find(&format!("{of_space}{owner}/{name}"), commit) {
                Some((_, files)) => ranged(&mut stream, &[], &files[&file.join("/")], &range, fault.as_ref()),
                None => refuse(&mut stream, 404, ""),
            },
            _ => refuse(&mut stream, if allowed { 404 } else { 401 }, ""),
        }
    }

    fn find(&self, repository: &str, revision: &str) -> Option<Revision> {
        self.0.lock().unwrap().revisions.get(&(repository.into(), revision.into())).cloned()
    }
}

fn sibling(name: &str, bytes: &[u8]) -> serde_json::Value {
    match is_large(name) {
        true => json!({"rfilename": name, "size": bytes.len(), "blobId": blob(bytes),
                       "lfs": {"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134}}),
        false => json!({"rfilename": name, "size": bytes.len(), "blobId": blob(bytes)}),
    }
}

fn refuse(stream: &mut TcpStream, status: u16, code: &str) -> std::io::Result<()> {
    send(stream, &format!("{status} No"), &[("x-error-code", code.into()), ("retry-after", "1".into())], b"{}", None)
}

/// Send the range `bytes=A-` or `bytes=A-B` of a file.
fn ranged(
    stream: &mut TcpStream,
    headers: &[(&str, String)],
    bytes: &[u8],
    range: &str,
    fault: Option<&Fault>,
) -> std::io::Result<()> {
    let asked = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let (Some((first, last)), false) = (asked, matches!(fault, Some(Fault::Whole))) else {
        return send(stream, "200 OK", headers, bytes, fault);
    };
    let first: usize = first.parse().unwrap();
    let end = last.parse::<usize>().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if first >= bytes.len() {
        return refuse(stream, 416, "");
    }
    let content_range = ("content-range", format!("bytes {first}-{}/{}", end - 1, bytes.len()));
    let headers: Vec<(&str, String)> = headers.iter().cloned().chain([content_range]).collect();
    send(stream, "206 Partial Content", &headers, &bytes[first..end], fault)
}

fn send(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, String)],
    body: &[u8],
    fault: Option<&Fault>,
) -> std::io::Result<()> {
    let mut body = body.to_vec();
    match fault {
        Some(Fault::Short(missing)) => body.truncate(body.len().saturating_sub(*missing)),
        Some(Fault::Changed) => body[0] ^= 1,
        _ => {}
    }
    let length = match fault {
        Some(Fault::Endless) => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let mut head = format!("HTTP/1.1 {status}\r\n{length}connection: close\r\n");
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    match fault {
        Some(Fault::Bodiless) => Ok(()),
        Some(Fault::Cut(n)) => stream.write_all(&body[..(*n).min(body.len())]),
        Some(Fault::Silence(n)) => {
            stream.write_all(&body[..(*n).min(body.len())])?;
            thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Some(Fault::Slow(n, pause)) => body.chunks(*n).try_for_each(|piece| {
            thread::sleep(*pause);
            stream.write_all(piece)
        }),
        Some(Fault::Endless) => {
            stream.write_all(&body)?;
            loop {
                stream.write_all(&[0; 1 << 16])?;
            }
        }
        _ => stream.write_all(&body),
    }
}
