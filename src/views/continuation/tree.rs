//! The continuations of a prompt, which branch where another token was chosen.

use super::ask::{Added, Made};
use crate::{engine::StopReason, experiment::KeptBranch};

/// A continuation, with all of its tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    pub sample: u64,
    /// The branch that it leaves, and after how many tokens; None for one that begins at the prompt.
    pub from: Option<(usize, usize)>,
    pub tokens: Vec<Made>,
    /// How it begins, up to the token that was chosen; of a branch from an experiment they may still have to be read. Empty for
    /// one that begins at the prompt.
    pub given: Vec<u32>,
    /// None while it can go on.
    pub stop: Option<StopReason>,
    /// See [`Added::changes`] and [`Added::others`].
    pub changes: Vec<Vec<f64>>,
    pub others: Vec<f64>,
}

impl Branch {
    /// Whether it is to have more tokens, up to `count`; `watched` says whether a breakpoint may end it.
    fn goes_on(&self, count: usize, watched: bool) -> bool {
        let count = count.max(self.given.len());
        match self.stop {
            // also with all of its tokens: what is known only at the end is still missing
            None | Some(StopReason::Cancelled) => true,
            Some(StopReason::Length) => self.tokens.len() < count,
            Some(StopReason::Breakpoint) => !watched && self.tokens.len() < count,
            Some(StopReason::EndOfText | StopReason::Context | StopReason::NoToken) => false,
        }
    }

    pub(super) fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|made| made.token.id).collect()
    }

    /// The given tokens that are still to be read.
    pub(super) fn ahead(&self) -> Vec<u32> {
        self.given.get(self.tokens.len()..).unwrap_or_default().to_vec()
    }

    /// Whether it has tokens, or some are given.
    pub(super) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty() || !self.given.is_empty()
    }

    /// Its text.
    pub(super) fn text(&self, from: usize) -> String {
        self.tokens.iter().skip(from).map(|made| made.token.text.as_str()).collect()
    }

    /// Add what was generated after the first `begun` tokens; what is known already stays.
    pub(super) fn add(&mut self, begun: usize, added: &Added) {
        let known = self.tokens.len().saturating_sub(begun);
        self.tokens.extend(added.tokens.iter().skip(known).cloned());
        if added.stop.is_some() {
            self.stop = added.stop;
            self.changes.clone_from(&added.changes);
            self.others.clone_from(&added.others);
        }
    }
}

/// The continuations of a prompt with the same edits and sampling.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    pub branches: Vec<Branch>,
    /// The branch on the screen.
    pub shown: usize,
}

impl Tree {
    /// Ensure that each of the first `samples` samples has a branch from the prompt.
    pub(super) fn have(&mut self, samples: u64) {
        for sample in 0..samples {
            self.have_root(sample);
        }
        self.shown = self.shown.min(self.branches.len().saturating_sub(1));
    }

    fn have_root(&mut self, sample: u64) {
        if !self.branches.iter().any(|branch| branch.from.is_none() && branch.sample == sample) {
            self.branches.push(Branch { sample, ..Branch::default() });
        }
    }

    /// The tree with these branches, each of which leaves the one that begins it.
    pub(super) fn of(kept: &[KeptBranch]) -> Self {
        let mut tree = Self::default();
        for KeptBranch { sample, tokens } in kept {
            tree.have_root(*sample);
            let begins = |at: &usize| {
                let Branch { sample: of, given, .. } = &tree.branches[*at];
                of == sample && given.len() < tokens.len() && tokens.starts_with(given)
            };
            let left = (0..tree.branches.len()).filter(begins).max_by_key(|at| tree.branches[*at].given.len());
            let from = left.map(|left| (left, tokens.len() - 1));
            tree.branches.push(Branch { sample: *sample, from, given: tokens.clone(), ..Branch::default() });
        }
        tree
    }

    /// The branches that were chosen, for an experiment.
    pub(super) fn kept(&self) -> Vec<KeptBranch> {
        let chosen = self.branches.iter().filter(|branch| branch.from.is_some());
        chosen.map(|branch| KeptBranch { sample: branch.sample, tokens: branch.given.clone() }).collect()
    }

    /// The branch on the screen.
    pub(super) fn branch(&self) -> Option<&Branch> {
        self.branches.get(self.shown)
    }

    /// The branch to go on with next, that on the screen first; of samples beyond the first `samples`, only that.
    pub(super) fn unfinished(&self, count: usize, samples: u64, watched: bool) -> Option<usize> {
        let goes_on = |at: &usize| {
            let branch = &self.branches[*at];
            branch.goes_on(count, watched) && (branch.sample < samples || *at == self.shown)
        };
        std::iter::once(self.shown).filter(|at| *at < self.branches.len()).chain(0..self.branches.len()).find(goes_on)
    }

    /// Leave the branch on the screen after `after` tokens with another one; an earlier branch that does the same is shown again.
    pub(super) fn leave(&mut self, after: usize, other: Made, ends: bool) {
        let Some(branch) = self.branch() else { return };
        let tokens: Vec<Made> = branch.tokens.iter().take(after).cloned().chain([other]).collect();
        let given: Vec<u32> = tokens.iter().map(|made| made.token.id).collect();
        let same = |one: &Branch| one.sample == branch.sample && [one.ids(), one.ahead()].concat().starts_with(&given);
        if let Some(there) = self.branches.iter().position(same) {
            self.shown = there;
            return;
        }
        let (sample, stop) = (branch.sample, ends.then_some(StopReason::EndOfText));
        let from = Some((self.shown, after));
        self.shown = self.branches.len();
        self.branches.push(Branch { sample, from, tokens, given, stop, ..Branch::default() });
    }

    /// Every branch with its depth, each followed by those that leave it.
    pub(super) fn listed(&self) -> Vec<(usize, usize)> {
        let mut listed = vec![];
        let roots = (0..self.branches.len()).filter(|at| self.branches[*at].from.is_none());
        let mut open: Vec<(usize, usize)> = roots.map(|at| (at, 0)).rev().collect();
        while let Some((at, depth)) = open.pop() {
            listed.push((at, depth));
            let leaves = |other: &usize| self.branches[*other].from.is_some_and(|(from, _)| from == at);
            open.extend((0..self.branches.len()).filter(leaves).map(|other| (other, depth + 1)).rev());
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Token;

    fn made(id: u32) -> Made {
        Made { token: Token { id, text: format!(" {id}") }, prob: 0.5, baseline_prob: 0.25 }
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.have(1);
        tree.branches[0].tokens = (0..4).map(made).collect();
        tree.branches[0].stop = Some(StopReason::Length);
        tree
    }

    #[test]
    fn a_branch_leaves_another_once() {
        let mut tree = tree();
        assert_eq!(tree.unfinished(4, 1, true), None);
        assert_eq!(tree.unfinished(5, 1, true), Some(0), "more tokens are wanted");
        tree.leave(2, made(9), false);
        assert_eq!((tree.shown, tree.branches[1].ids()), (1, vec![0, 1, 9]));
        assert_eq!(tree.unfinished(4, 1, true), Some(1));
        tree.leave(3, made(8), true);
        assert_eq!((tree.branches[2].ids(), tree.unfinished(4, 1, true)), (vec![0, 1, 9, 8], Some(1)));
        // back to the first, and the same choice again
        tree.shown = 0;
        tree.leave(2, made(9), false);
        assert_eq!((tree.shown, tree.branches.len()), (1, 3));
        tree.leave(0, made(7), false);
        assert_eq!(tree.listed(), [(0, 0), (1, 1), (2, 2), (3, 2)]);
    }

    #[test]
    fn a_kept_tree_has_the_same_branches_with_their_tokens_ahead() {
        let mut tree = tree();
        tree.have(2);
        tree.leave(2, made(9), false);
        tree.branches[2].tokens.extend([5, 6].map(made));
        tree.leave(4, made(8), true);
        let kept = tree.kept();
        let tokens: Vec<&[u32]> = kept.iter().map(|branch| &branch.tokens[..]).collect();
        assert_eq!(tokens, [&[0, 1, 9][..], &[0, 1, 9, 5, 8]]);
        let mut opened = Tree::of(&kept);
        opened.have(2);
        let from = |tree: &Tree| tree.branches.iter().filter_map(|branch| branch.from).collect::<Vec<_>>();
        assert_eq!((from(&opened), from(&tree)), (vec![(0, 2), (1, 4)], vec![(0, 2), (2, 4)]));
        assert_eq!((opened.kept(), opened.branches[2].ahead()), (kept, vec![0, 1, 9, 5, 8]));
        // they are read even where fewer tokens are wanted
        opened.branches[0].stop = Some(StopReason::Length);
        opened.branches[0].tokens = [made(0), made(1)].to_vec();
        assert_eq!(opened.unfinished(2, 1, true), Some(1));
        opened.branches[1].tokens = [0, 1, 9].map(made).to_vec();
        // until it is known why it stopped, its change bars are missing, too
        assert_eq!((opened.branches[1].ahead(), opened.unfinished(2, 1, true)), (vec![], Some(1)));
        opened.branches[1].stop = Some(StopReason::Length);
        assert_eq!(opened.unfinished(2, 1, true), Some(2));
        // a branch whose tokens are still ahead is not left twice
        opened.shown = 0;
        opened.branches[0].tokens.push(made(2));
        let before = opened.branches.len();
        opened.branches[1].tokens.clear();
        opened.leave(2, made(9), false);
        assert_eq!((opened.shown, opened.branches.len()), (1, before));
        // and a branch of another sample is another one
        opened.shown = opened.branches.iter().position(|branch| branch.sample == 1).unwrap();
        opened.branches[opened.shown].tokens = vec![made(0), made(1)];
        opened.leave(2, made(9), false);
        assert_eq!(opened.branches.len(), before + 1);
    }

    #[test]
    fn what_is_known_is_not_added_again() {
        let mut branch = tree().branches.remove(0);
        branch.stop = None;
        let added =
            |ids: std::ops::Range<u32>, stop| Added { tokens: ids.map(made).collect(), stop, ..Added::default() };
        branch.add(2, &added(2..4, None));
        assert_eq!(branch.ids(), [0, 1, 2, 3]);
        branch.add(2, &added(2..6, Some(StopReason::Length)));
        assert_eq!((branch.ids().len(), branch.stop), (6, Some(StopReason::Length)));
    }

    #[test]
    fn samples_beyond_those_wanted_are_left_as_they_are() {
        let mut tree = tree();
        tree.have(3);
        assert_eq!((tree.branches.len(), tree.unfinished(4, 3, true)), (3, Some(1)));
        assert_eq!(tree.unfinished(4, 1, true), None);
    }
}
