//! What the explorer shows and does, without a terminal and without a model.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test fails by panicking")]

mod against;
mod answers;
mod commands;
mod continuing;
mod editing;
mod feature_view;
mod files;
mod held;
mod mouse;
mod moving;
mod picture;
mod pictures;
mod pixels;
mod program;
mod prompts;
mod random;
mod results;
mod runs;
mod steering;
mod tour;
mod training;

use std::{fmt::Write, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use program::{PROMPT, Program};
use proptest::prelude::*;
use pythia_tui::{
    analysis::{Edge, GraphShape, HeadScores, Objective, ObjectiveKind, TokenRank, stats},
    engine::{
        self, AboutFeature, Answer, AtDistance, Attribution, Beginning, CheckpointMetrics, Compare, DoseCurve,
        DosePoint, EditEffect, Explained, Factor, Faithfulness, FeatureNode, FeaturesAt, Filling, HookChange,
        HookTotals, LensAbout, LensCell, LensColumn, LensGrid, LensRack, Linked, Links, Map, Matrix, Measure, Metric,
        NextTokens, NoEffect, Numbers, Patch, Prediction, Promoted, Report, Request, RunMetrics, Statistics, Steered,
        StopReason, Stopped, Summary, Thumbnails, Want, WhichAttention, WithBaseline, lens_points,
    },
    experiment::{ChosenEdges, Circuit, EditLine, Token},
    explorer::{
        Effect, Event, Experiment, NotSaved, OfPlaces, OfWatches, Opening, Overlay, Places, PromptLine, Purpose,
        SavedView, Setup, State, draw, svg, update,
    },
    hooks::{self, BlockHook, Dims, HookPoint, Op, Schema},
    keys::{Key, Keymap},
    model::{ACTIVATIONS, Config, Dtype, Lens, Processing, Progress, TrainingStep, Waiting, WeightHashes, modules},
    paint::{ColorDepth, Region, Theme},
    predicate::{Match, Place},
    views::{
        Checkpoints, Focus, HeadScope, ModelInfo, Panels, Phase, Scene, Tab,
        attention::{OfHead, OfHeads},
        attribution::OfLogit,
        circuit::{OfParts, Part, Scores, What},
        continuation,
        diagram::OfEveryHook,
        dose::{Curve, OfDose},
        features,
        heads::OfEveryHead,
        keymap,
        lens::{AtPosition, AtPositions},
        logits::After,
        shape::OfHook,
        sweep::OfMap,
        values::OfSlice,
        weights,
        why::{OfLogitByPosition, OfScore},
    },
};
use ratatui::{Terminal, backend::TestBackend};

const TRUE: Theme = Theme { depth: ColorDepth::True, ascii: false, light: false, pixels: None };
const WIDE: (u16, u16) = (160, 45);
const SMALL: (u16, u16) = (80, 24);

fn prompt_line(program: &Program) -> &PromptLine {
    match &program.state.overlay {
        Some(Overlay::Prompt(open)) => open,
        other => panic!("{other:?}"),
    }
}

fn command(program: &mut Program, line: &str) {
    program.keys(":");
    program.event(Event::Paste(line.into()));
    program.keys("Enter");
}
