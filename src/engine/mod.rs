//! Runs of a model with edits, always beside the unedited run of the same prompt, and the worker thread they run on.

mod against;
mod attention;
mod attribution;
mod attribution_error;
mod base;
mod cache_check;
mod changes;
mod checkpoint_metrics;
mod circuit;
mod circuit_edits;
mod compare;
mod compared;
mod control;
mod corpus;
mod dictionaries;
mod dose;
mod edge_scores;
mod edit_effect;
mod exact_effects;
mod explain;
mod export;
mod export_circuit;
mod feature_scores;
mod features;
mod find;
mod finished;
mod generate;
mod given;
mod gradient;
mod hit;
mod hold;
mod host;
mod lens;
mod memory;
mod method;
mod next_tokens;
mod numbers;
mod outcome;
mod patching;
mod reading;
mod reads;
mod request;
mod run;
mod save;
mod session;
mod slopes;
mod summary;
mod sweep;
mod values;
mod vectors;
mod weights;
mod weights_of_two;
mod worker;

pub use against::{Apart, ReadByBoth};
pub use attention::{Thumbnails, WhichAttention};
pub use attribution::Attribution;
pub use attribution_error::AttributionError;
pub use cache_check::{CacheCheck, CheckedPart, KnownReason};
pub use changes::HookChange;
pub use checkpoint_metrics::{CheckpointMetrics, RunMetrics};
pub use circuit::{Circuits, Faithfulness, circuit_sizes};
pub use circuit_edits::{patch_edge, patch_node};
pub use compare::{Compare, WithBaseline};
pub use compared::without_stream_edits;
pub use control::Control;
pub use corpus::{
    Batch, BatchOutcome, Context, CorpusMeans, CorpusPrompt, CorpusQuestion, CorpusTask, Group, HeadEffects, HeadSums,
    Measured, PromptEffect, TopContexts, TopQuestion, Watch, WatchHeads, groups, measured_objective,
};
pub use dose::{Dose, DoseCurve, DosePoint, amounts, usual_amounts};
pub use edit_effect::{EditEffect, NoEffect};
pub use explain::{ExplainError, Explained, ScoreCell};
pub use export::{ExportError, OfModel, Ran, check_export, python};
pub use export_circuit::{RanCircuit, python_circuit};
pub use feature_scores::{FeatureNode, patch_feature};
pub use features::{AboutFeature, FeaturesAt, Linked, Links};
pub use find::{FindError, Searched};
pub use finished::Finished;
pub use generate::{
    Beginning, Continuation, Continued, Generation, NewToken, Pair, Sampling, StopReason, TokenBreakpoint, TokenHit,
};
pub use gradient::Gradients;
pub use hit::Hit;
pub use hold::{HeldPass, Hold, NOT_YET, Stopped};
pub use lens::{LensAbout, LensCell, LensColumn, LensGrid, LensQuestion, LensRack, left_out, lens_points};
pub use memory::room_for;
pub use method::Method;
pub use next_tokens::{LISTED, NextTokens};
pub use numbers::HookTotals;
pub use outcome::Outcome;
pub use patching::Attributed;
pub use reading::{Factor, Numbers, Reading, no_change};
pub use reads::Reads;
pub use request::{Answer, Ask, Needs, Request, Unseen};
pub use run::{Engine, Run, Spec};
pub use save::{Array, SaveError, check_cache_name, save_cache, save_gradients, write_npz};
pub use session::{Other, Session};
pub use summary::{Prediction, Predictions, Summary};
pub use sweep::{
    CellBreakpoint, CellHit, Column, Comparison, Estimated, Filling, Grid, Map, Measure, Metric, Patch, Question, Row,
    Swept, ablate_heads, random_heads, strongest,
};
pub use values::{Matrix, Slice, Statistics};
pub use vectors::Steered;
pub use weights::{AtDistance, Circuit, Composition, Direction, Promoted};
pub use weights_of_two::Differing;
pub use worker::{Report, Serve, Stop, Want, Worker, in_pool};
