//! Requests to the hub: URLs, the token, redirects, and the meaning of error statuses.

use std::{
    thread,
    time::{Duration, Instant},
};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use serde::de::DeserializeOwned;
use ureq::{Agent, Body, Error, RequestBuilder, http::Response, typestate::WithoutBody};

use super::{
    client::Hub,
    error::HubError,
    kind::Kind,
    names::suggested_model,
    progress::{OnProgress, Progress, TICK, Waiting},
};

/// Timeouts for connecting, and for a short answer.
const CONNECT: Duration = Duration::from_secs(4);
const ANSWER: Duration = Duration::from_secs(10);

/// The longest answer about a repository, in bytes.
const ANSWER_LIMIT: u64 = 16 << 20;

const REDIRECTS: usize = 10;

/// What a request is about, for error messages.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub repository: &'a str,
    pub revision: &'a str,
    pub file: Option<&'a str>,
}

impl Hub {
    /// `hf_hub`'s view of a revision, which builds its URLs.
    pub(super) fn api(&self, kind: Kind, repository: &str, revision: &str) -> Result<ApiRepo, HubError> {
        let builder = ApiBuilder::from_cache(hf_hub::Cache::new(self.cache.directory.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let api = builder.build().map_err(|e| HubError::Setting(e.to_string()))?;
        Ok(api.repo(kind.repo_at(repository, revision)))
    }

    /// The JSON that the hub answers with, after retries. `on_progress` is called while waiting for a retry.
    pub(super) fn get_json<T: DeserializeOwned>(
        &self,
        subject: Subject<'_>,
        url: &str,
        request: impl Fn() -> RequestBuilder<WithoutBody>,
        on_progress: OnProgress<'_>,
    ) -> Result<T, HubError> {
        let mut waits = self.waits.iter();
        loop {
            let total = Some(self.patience.min(ANSWER));
            let mut response = self.send(request(), url, None, total).map_err(|e| self.unreachable(subject, &e))?;
            if response.status() == 200 {
                let text = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_string();
                let text = text.map_err(|e| match e {
                    Error::BodyExceedsLimit(limit) => self.unexpected(&format!("an answer of more than {limit} bytes")),
                    e => self.unreachable(subject, &e),
                })?;
                return serde_json::from_str(&text).map_err(|e| self.unexpected(&e));
            }
            let (error, pause) = self.refusal(&response, subject);
            match (&error, waits.next()) {
                (HubError::TooMany(_) | HubError::Server(..), Some(wait)) => {
                    let progress = Progress::new(subject.repository, subject.revision);
                    pause_for((*wait).max(pause), &progress, on_progress)?;
                }
                _ => return Err(error),
            }
        }
    }

    /// A request for a URL. The token is sent only if the scheme, host and port are those of the endpoint.
    pub(super) fn request(&self, url: &str) -> RequestBuilder<WithoutBody> {
        let agent: Agent = Agent::config_builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        match self.token.as_ref().filter(|_| origin(url) == origin(&self.endpoint)) {
            Some(token) => agent.get(url).header("authorization", format!("Bearer {token}")),
            None => agent.get(url),
        }
    }

    /// Send a request for `url`, or for its bytes from `first` on, and follow redirects.
    pub(super) fn send(
        &self,
        mut request: RequestBuilder<WithoutBody>,
        url: &str,
        first: Option<u64>,
        total: Option<Duration>,
    ) -> Result<Response<Body>, Error> {
        let mut url = url.to_string();
        for _ in 0..=REDIRECTS {
            if let Some(first) = first {
                // a server may ignore ranges if it may compress
                request = request.header("range", format!("bytes={first}-")).header("accept-encoding", "identity");
            }
            let config = request.config().http_status_as_error(false).max_redirects(0).timeout_global(total);
            let config = config.timeout_connect(Some(CONNECT)).timeout_recv_response(Some(self.patience));
            let response = config.build().call()?;
            let location = response.headers().get("location").and_then(|to| to.to_str().ok());
            let (301 | 302 | 303 | 307 | 308, Some(to)) = (response.status().as_u16(), location) else {
                return Ok(response);
            };
            let to = resolved(&url, to);
            if url.starts_with("https://") && !to.starts_with("https://") {
                return Err(other("it redirects from https to an address without it"));
            }
            request = self.request(&to);
            url = to;
        }
        Err(other("it redirects without end"))
    }

    /// Refuse unusable settings before any request is sent.
    pub(super) fn check_settings(&self) -> Result<(), HubError> {
        if origin(&self.endpoint).is_none() {
            let message = format!("HF_ENDPOINT is `{}`; expected https://... or http://...", self.endpoint_name());
            return Err(HubError::Setting(message));
        }
        if self.token.as_ref().is_some_and(|token| !token.bytes().all(|c| c.is_ascii_graphic())) {
            return Err(HubError::Setting("the token in HF_TOKEN contains characters that no token has".into()));
        }
        Ok(())
    }

    /// The error that a failure status means, and how long the hub asks to wait.
    pub(super) fn refusal(&self, response: &Response<Body>, subject: Subject<'_>) -> (HubError, Duration) {
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (status, code, later) = (response.status().as_u16(), header("x-error-code"), header("retry-after"));
        let later: Option<u64> = later.parse().ok();
        let repository = subject.repository.to_string();
        let error = match (status, code, subject.file) {
            (_, "RevisionNotFound", _) => {
                let suite = crate::model::is_of_suite(&repository);
                let steps =
                    "; training steps are step0, step1, step2, step4 to step512, step1000, step2000 to step143000";
                let hint = if suite { steps } else { "" };
                HubError::NoRevision { repository, revision: subject.revision.into(), hint: hint.into() }
            }
            (401 | 403, "GatedRepo", _) | (403, ..) => {
                let reason = Some(header("x-error-message")).filter(|reason| !reason.is_empty());
                let reason = reason.map_or_else(|| format!("status {status}"), String::from);
                HubError::Denied { repository, reason }
            }
            // the listing has just named it
            (404, _, Some(file)) => HubError::NoFile { repository, file: file.into() },
            // without a token, the hub answers 401 for a repository that does not exist
            (401 | 404, ..) => HubError::NoRepository { hint: self.hint(&repository), repository },
            (429, ..) => HubError::TooMany(later.map(|s| format!(", for {s} s")).unwrap_or_default()),
            (500..=599, ..) => HubError::Server(self.endpoint_name(), status),
            _ => self.unexpected(&format!("status {status}")),
        };
        // a pause of minutes is too long to wait through
        let longest = self.waits.last().copied().unwrap_or_default() * 10;
        (error, later.map_or(Duration::ZERO, Duration::from_secs).min(longest))
    }

    fn unreachable(&self, subject: Subject<'_>, why: &Error) -> HubError {
        let (endpoint, reason) = (self.endpoint_name(), self.without_credentials(&why.to_string()));
        let repository = subject.repository.to_string();
        HubError::Unreachable { hint: suggested_model(&repository), repository, endpoint, reason }
    }

    pub(super) fn unexpected(&self, what: &dyn std::fmt::Display) -> HubError {
        HubError::Unexpected(self.endpoint_name(), what.to_string())
    }

    /// The endpoint for messages, without credentials.
    fn endpoint_name(&self) -> String {
        self.without_credentials(&self.endpoint)
    }

    /// A text without the user name and password that the endpoint may contain.
    fn without_credentials(&self, text: &str) -> String {
        let beyond_scheme = self.endpoint.split_once("://").map_or(self.endpoint.as_str(), |(_, rest)| rest);
        match beyond_scheme.rsplit_once('@') {
            Some((login, _)) => text.replace(&format!("{login}@"), ""),
            None => text.into(),
        }
    }

    /// Why a repository may be missing, to end a message with.
    fn hint(&self, repository: &str) -> String {
        let token = match &self.token {
            Some(_) => " and the token that is set is not accepted",
            None => ", and HF_TOKEN is not set",
        };
        format!("{token}{}", suggested_model(repository))
    }
}

/// Wait, and report it.
///
/// # Errors
/// `on_progress` asked to stop.
pub(super) fn pause_for(pause: Duration, progress: &Progress, on_progress: OnProgress<'_>) -> Result<(), HubError> {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if !on_progress(Progress { waiting: Waiting::ForHub(left), ..progress.clone() }) {
            return Err(HubError::Stopped);
        }
        thread::sleep(left.min(TICK));
    }
}

fn other(reason: &str) -> Error {
    Error::Other(reason.into())
}

/// The scheme, host and port of a URL (RFC 6454), without user name and password.
fn origin(url: &str) -> Option<(&str, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let standard = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (host, standard),
    };
    (!host.is_empty()).then(|| (scheme, host.to_ascii_lowercase(), port))
}

/// The target of a redirect from `base`, which may be relative (RFC 3986).
fn resolved(base: &str, to: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let path_at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    if to.contains("://") {
        to.to_string()
    } else if let Some(to) = to.strip_prefix("//") {
        format!("{scheme}://{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{to}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(a).is_some() && origin(a) == origin(b);
        assert!(same("https://hub.co/a?b", "https://HUB.co:443"));
        assert!(same("http://user:pw@127.0.0.1:80/x", "http://127.0.0.1"));
        for (a, b) in [
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8081/x"),
            ("http://hub.co/", "https://hub.co/"),
            ("https://hub.co/", "https://hub.co.evil.org/"),
            ("https://hub.co@evil.org/", "https://hub.co/"),
            ("https://evil.org\\@hub.co/", "https://hub.co/"),
            ("ftp://hub.co/", "ftp://hub.co/"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn redirects_may_be_relative() {
        let base = "https://hub.co/a/b?c=/d";
        for (to, expected) in [
            ("http://cdn.co/x", "http://cdn.co/x"),
            ("//cdn.co/x", "https://cdn.co/x"),
            ("/x?y", "https://hub.co/x?y"),
            ("x", "https://hub.co/a/x"),
        ] {
            assert_eq!(resolved(base, to), expected);
        }
        assert_eq!(resolved("https://hub.co", "x"), "https://hub.co/x");
    }
}
