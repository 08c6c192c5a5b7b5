use crate::{engine::Compare, views::Scene};

/// With the edits or without; where two models are compared, this model's text is in the place of the edited one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Unedited,
    Edited,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Unedited, Self::Edited];

    #[must_use]
    pub fn name(self, scene: &Scene) -> &'static str {
        match (scene.compared_models(), self) {
            (Compare::Edited | Compare::Baseline, Self::Unedited) => "unedited",
            (Compare::Edited | Compare::Baseline, Self::Edited) => "edited",
            (Compare::Difference, Self::Unedited) => "that",
            (Compare::Difference, Self::Edited) => "this",
        }
    }

    /// The name before a noun.
    #[must_use]
    pub fn whose(self, scene: &Scene) -> String {
        match scene.compared_models() {
            Compare::Edited | Compare::Baseline => format!("the {}", self.name(scene)),
            Compare::Difference => format!("{} model's", self.name(scene)),
        }
    }
}
