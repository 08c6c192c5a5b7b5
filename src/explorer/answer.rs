//! Choosing the tokens of the logit difference.

use super::State;
use crate::experiment::{Distractor, Token};

/// The token under the cursor of the view; without one, a message says where to choose it.
fn token(state: &mut State) -> Option<Token> {
    let token = state.view().token(&state.scene);
    if token.is_none() {
        state.scene.refuse("choose a token in Logits or Lens, or name one with `:target TOKEN`");
    }
    token
}

/// Make the token under the cursor the target.
pub(super) fn choose_target(state: &mut State) {
    if let Some(token) = token(state) {
        state.scene.say(format!("the target is {:?}", token.text));
        state.scene.target = Some(token);
    }
}

/// Make the token under the cursor the distractor; if it already is, use the target's logit alone.
pub(super) fn choose_distractor(state: &mut State) {
    let Some(token) = token(state) else { return };
    if state.scene.distractor == Distractor::Chosen(token.clone()) {
        state.scene.distractor = Distractor::None;
        state.scene.say("no distractor: the target's logit alone");
    } else {
        state.scene.say(format!("the distractor is {:?}", token.text));
        state.scene.distractor = Distractor::Chosen(token);
    }
}
