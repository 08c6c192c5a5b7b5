use hf_hub::{Repo, RepoType};

/// What a repository of the hub holds, by which its address differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    /// A web application, which may hold files as well.
    Space,
}

impl Kind {
    /// `hf_hub`'s name of a repository, which builds its paths in the cache.
    pub(super) fn repo(self, repository: &str) -> Repo {
        Repo::new(repository.into(), self.into())
    }

    /// The same at a revision, which builds its URLs.
    pub(super) fn repo_at(self, repository: &str, revision: &str) -> Repo {
        Repo::with_revision(repository.into(), self.into(), revision.into())
    }
}

impl From<Kind> for RepoType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Model => Self::Model,
            Kind::Space => Self::Space,
        }
    }
}
