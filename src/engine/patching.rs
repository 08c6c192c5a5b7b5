//! Attribution patching: the effect on an objective of patching each component, or each edge, from the contrast prompt.
//!
//! To first order it is the change of what the component writes times the gradient with respect to it (Nanda,
//! "Attribution Patching", 2023). For an edge, the gradient is taken at the reader's own input (Syed et al.,
//! "Attribution Patching Outperforms Automated Circuit Discovery", 2023). With integrated gradients, it is the mean
//! gradient over inputs between the two prompts' embeddings (Hanna et al., "Have Faith in Faithfulness", 2024).

use candle_core::{DType, Tensor};

use super::{
    AttributionError, Control, Engine, Method, Run, Spec, circuit_edits,
    compared::{Compared, with_whole_streams, writers},
    dictionaries::Dictionaries,
    edge_scores::{EdgeScores, Writes},
    host::values,
};
use crate::{
    analysis::{Edge, GraphShape, Node, Objective},
    hooks::{ActivationCache, Backward, BlockHook, Capture, HookPoint, Interventions},
    model::Start,
};

/// Scores, with the objective of both prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed<T> {
    /// Of the prompt's run, and of the contrast prompt's.
    pub value: f64,
    pub contrast_value: f64,
    /// What patching each from the contrast prompt adds to the objective, exact or estimated; in the graph's order.
    pub scores: Vec<(T, f64)>,
}

impl Engine {
    /// The score of every component that writes to the residual stream.
    ///
    /// # Errors
    /// Prompts that can't be compared, an objective without a gradient, whatever a run refuses, cancellation.
    pub fn attribute_nodes(
        &mut self,
        spec: &Spec,
        objective: Objective,
        method: Method,
        control: Control<'_>,
    ) -> Result<Attributed<Node>, AttributionError> {
        let compared = self.compared(spec, objective, method, control)?;
        let senders = GraphShape::from(self.schema.dims).senders();
        let scores = match method {
            Method::Exact => {
                let cells: Vec<_> = senders.iter().map(|node| circuit_edits::patch_node(*node)).collect();
                self.differences(spec, &cells, objective, compared.value, control)?
            }
            Method::Eap | Method::EapIg { .. } => {
                let mut scores = vec![0.0; senders.len()];
                let capture = Capture::Only(writers(self.schema.dims.n_layers));
                let changes = self.changes_of_writes(&compared)?;
                let mut each = |run: &Run, baseline: &Run, dictionaries: &Dictionaries<'_>| {
                    let hooks =
                        Backward::new(&compared.plan, capture.clone(), compared.base.references(), control.cancel);
                    let mut hooks = hooks.through(dictionaries, &run.cache, &run.arrived).leaving_out(true);
                    self.back(objective, run, baseline, &compared.plan, &mut hooks)?;
                    for (score, of) in scores.iter_mut().zip(self.along_writes(&changes, &hooks.cache)?) {
                        *score += of;
                    }
                    Ok(())
                };
                let runs = self.each_input(&compared, method, control, &mut each)?;
                scores.iter().map(|score| score / runs).collect()
            }
        };
        let Compared { value, contrast_value, .. } = compared;
        Ok(Attributed { value, contrast_value, scores: senders.into_iter().zip(scores).collect() })
    }

    /// The score of every edge.
    ///
    /// # Errors
    /// As [`Self::attribute_nodes`]; edits of the residual stream itself.
    pub fn attribute_edges(
        &mut self,
        spec: &Spec,
        objective: Objective,
        method: Method,
        control: Control<'_>,
    ) -> Result<Attributed<Edge>, AttributionError> {
        let spec = &with_whole_streams(spec)?;
        let compared = self.compared(spec, objective, method, control)?;
        let shape = GraphShape::from(self.schema.dims);
        let scores = match method {
            Method::Exact => {
                let cells: Vec<_> = shape.edges().map(|edge| circuit_edits::patch_edge(edge, shape.n_layers)).collect();
                self.differences(spec, &cells, objective, compared.value, control)?
            }
            Method::Eap | Method::EapIg { .. } => {
                let writes = Writes::new(self, &self.changes_of_writes(&compared)?)?;
                let mut scores = vec![0.0; shape.edge_count()];
                let mut each = |run: &Run, baseline: &Run, dictionaries: &Dictionaries<'_>| {
                    let hooks =
                        Backward::new(&compared.plan, Capture::None, compared.base.references(), control.cancel);
                    let hooks = hooks.through(dictionaries, &run.cache, &run.arrived);
                    let mut hooks = EdgeScores::new(hooks.with_inputs(), shape, &writes);
                    let gradient = self.of_normalized(objective, run, baseline)?;
                    self.loaded.model.backward(gradient, &run.cache, &self.schema, &mut hooks)?;
                    for (score, of) in scores.iter_mut().zip(hooks.scores()) {
                        *score += of;
                    }
                    Ok(())
                };
                let runs = self.each_input(&compared, method, control, &mut each)?;
                scores.iter().map(|score| score / runs).collect()
            }
        };
        let Compared { value, contrast_value, .. } = compared;
        Ok(Attributed { value, contrast_value, scores: shape.edges().zip(scores).collect() })
    }

    /// The contrast prompt's writes minus the prompt's, at the hooks of [`writers`], in f32.
    pub(super) fn changes_of_writes(&self, compared: &Compared) -> Result<ActivationCache, AttributionError> {
        let mut changes = ActivationCache::default();
        for point in writers(self.schema.dims.n_layers) {
            let of = |run: &Run| -> candle_core::Result<Tensor> {
                let missing = || candle_core::Error::Msg(format!("the run kept no {point}"));
                run.cache.get(point).ok_or_else(missing)?.to_dtype(DType::F32)
            };
            changes.insert(point, (of(&compared.contrast)? - of(&compared.run)?)?);
        }
        Ok(changes)
    }

    /// The change of what each sender writes, times the gradient with respect to it.
    fn along_writes(
        &self,
        changes: &ActivationCache,
        gradients: &ActivationCache,
    ) -> Result<Vec<f64>, AttributionError> {
        let (heads, d_head) = (self.schema.dims.n_heads, self.schema.dims.d_head);
        let mut scores = vec![];
        for (point, change) in changes.iter() {
            let Some(gradient) = gradients.get(point) else { continue };
            let products = (change * gradient)?;
            if matches!(point.block_hook(), Some(BlockHook::Z)) {
                let mut of_heads = vec![0.0; heads];
                for (at, part) in values(&products)?.chunks(d_head).enumerate() {
                    of_heads[at % heads] += part.iter().map(|x| f64::from(*x)).sum::<f64>();
                }
                scores.extend(of_heads);
            } else {
                scores.push(values(&products)?.into_iter().map(f64::from).sum());
            }
        }
        Ok(scores)
    }

    /// Call `each` with each run whose gradients are taken, its baseline and its dictionaries: the prompt's run, or one run for
    /// each step between the prompts' embeddings. Returns the number of runs.
    pub(super) fn each_input(
        &self,
        compared: &Compared,
        method: Method,
        control: Control<'_>,
        each: &mut dyn FnMut(&Run, &Run, &Dictionaries<'_>) -> Result<(), AttributionError>,
    ) -> Result<f64, AttributionError> {
        let dictionaries = || self.dictionaries(&compared.run.tokens, &compared.base.features);
        let steps = match method {
            Method::Eap | Method::Exact => {
                each(&compared.run, &compared.base.baseline, &dictionaries())?;
                return Ok(1.0);
            }
            Method::EapIg { steps } => steps,
        };
        let embedded = |run: &Run| -> candle_core::Result<Tensor> {
            let missing = || candle_core::Error::Msg("the run kept no embeddings".into());
            run.cache.get(HookPoint::Embed).cloned().ok_or_else(missing)
        };
        let (here, there) = (embedded(&compared.run)?, embedded(&compared.contrast)?);
        let mean = |run: &Run| self.loaded.model.embedded_mean(&run.tokens, &run.cache);
        let means = mean(&compared.run)?.zip(mean(&compared.contrast)?);
        #[allow(clippy::cast_precision_loss, reason = "a number of steps")]
        let all = steps as f64;
        for step in 0..steps {
            #[allow(clippy::cast_precision_loss, reason = "a number of steps")]
            let share = step as f64 / all;
            let between = |here: &Tensor, there: &Tensor| there + ((here - there)? * share)?;
            let stream = between(&here, &there)?;
            let mean = means.as_ref().map(|(here, there)| between(here, there)).transpose()?;
            let dictionaries = dictionaries().beginning_with(mean);
            let plans = std::slice::from_ref(&compared.plan);
            let references = compared.base.references();
            let hooks = Interventions::new(plans, &[], Capture::All, references, self.schema.dims.d_vocab)
                .with_dictionaries(&dictionaries);
            let start = Start::Residual { block: 0, stream, past: None };
            let (run, _) = self
                .pass(start, &compared.run.tokens, hooks, 0, Capture::All, control)
                .map_err(|error| AttributionError::Run(error.into()))?;
            each(&run, &compared.base.baseline, &dictionaries)?;
        }
        Ok(all)
    }
}
