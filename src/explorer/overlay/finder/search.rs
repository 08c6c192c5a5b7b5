use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};
use tui_input::Input;

use crate::{hooks::HookPoint, views::Scene};

/// The `/` search: a query and the hooks whose names it matches.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    pub input: Input,
    /// Best first.
    pub matches: Vec<HookPoint>,
    pub cursor: usize,
}

impl Finder {
    /// Every hook, as long as nothing is typed.
    #[must_use]
    pub fn new(scene: &Scene) -> Self {
        let mut finder = Self::default();
        finder.search(&scene.schema.all_points());
        finder
    }

    /// Search again; each word of the query must match, its letters in order.
    pub fn search(&mut self, points: &[HookPoint]) {
        self.cursor = 0;
        let pattern = Pattern::parse(self.input.value(), CaseMatching::Ignore, Normalization::Smart);
        let mut matcher = Matcher::new(Config::DEFAULT);
        let names = points.iter().map(|&point| Named { name: point.to_string(), point });
        self.matches = pattern.match_list(names, &mut matcher).into_iter().map(|(named, _)| named.point).collect();
    }

    /// The hook under the cursor.
    #[must_use]
    pub fn chosen(&self) -> Option<HookPoint> {
        self.matches.get(self.cursor).copied()
    }
}

struct Named {
    name: String,
    point: HookPoint,
}

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        &self.name
    }
}
