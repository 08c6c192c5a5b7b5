//! A worker's answers: made-up numbers of the right shapes.

use super::*;

/// A worker's answer.
pub fn answer(scene: &Scene, request: &Request, want: &Want) -> Result<Answer, String> {
    let made = None
        .or_else(|| request.get().map(|ask| statistics(scene, ask, want)))
        .or_else(|| request.get().map(|ask| matrix(scene, ask, want)))
        .or_else(|| request.get().map(|ask| head(ask, want)))
        .or_else(|| request.get().map(|ask| heads(scene, ask, want)))
        .or_else(|| request.get::<OfEveryHook>().map(|ask| Ok(totals(scene, ask))))
        .or_else(|| request.get::<After>().map(|_| Ok(next_tokens(scene, want))))
        .or_else(|| request.get().map(|ask| lens(scene, ask, want)))
        .or_else(|| request.get().map(|ask| lens_rack(scene, ask, want)))
        .or_else(|| request.get().map(|ask| Ok(features(ask, want))))
        .or_else(|| request.get().map(|ask| Ok(feature(ask, want))))
        .or_else(|| request.get().map(|ask| attribution(scene, ask, want)))
        .or_else(|| request.get::<OfEveryHead>().map(|_| Ok(scores(scene, want))))
        .or_else(|| request.get().map(|ask| Ok(circuit_of_weights(scene, ask))))
        .or_else(|| request.get::<weights::OfNeuron>().map(|_| Ok(Answer::new(Arc::new(tokens_of_weights(24))))))
        .or_else(|| request.get::<weights::OfComposition>().map(|_| Ok(composition(scene))))
        .or_else(|| request.get().map(|ask| sweep(scene, ask, want)))
        .or_else(|| request.get().map(|ask| parts(scene, ask)))
        .or_else(|| request.get::<OfScore>().map(|_| Ok(explained(want))))
        .or_else(|| request.get::<OfLogitByPosition>().map(|_| Ok(explained(want))))
        .or_else(|| request.get().map(|ask| Ok(continuation(scene, ask, want))))
        .or_else(|| request.get().map(|ask| Ok(dose(scene, ask))))
        .or_else(|| request.get::<OfPlaces>().map(|ask| Ok(places(scene, ask))))
        .or_else(|| request.get::<OfWatches>().map(|ask| Ok(watched(scene, ask))));
    made.unwrap_or_else(|| panic!("no answer to {request:?}"))
}

fn tokens_of_weights(count: usize) -> weights::Sides {
    let side =
        |word: &str, sign: f32| (0..count).map(|i| (format!(" {word}{i}"), sign * (3.0 - i as f32 / 8.0))).collect();
    weights::Sides { promoted: side("up", 1.0), suppressed: side("down", -1.0) }
}

fn circuit_of_weights(scene: &Scene, ask: &weights::OfCircuit) -> Answer {
    let directions = (0..16).map(|i| (8.0 / (1.0 + i as f64), tokens_of_weights(24), tokens_of_weights(24))).collect();
    let at = |distance: usize| AtDistance {
        distance,
        norm: 4.0 + (distance as f64 / 3.0).cos(),
        bias: -(distance as f64) / 4.0,
    };
    let distances = match ask.circuit {
        engine::Circuit::Ov => vec![],
        engine::Circuit::Qk { .. } => (0..scene.model.config.context.min(64)).map(at).collect(),
    };
    Answer::new(Arc::new(weights::Directions {
        directions,
        distances,
        relative: (ask.compare == Compare::Difference).then_some(0.5),
    }))
}

/// Scores of earlier heads into later ones.
fn composition(scene: &Scene) -> Answer {
    let (n_heads, n) = (scene.schema.dims.n_heads, scene.schema.dims.n_heads * scene.schema.dims.n_layers);
    let score = |pair: usize| match (pair / n, pair % n) {
        (from, to) if from / n_heads < to / n_heads => 0.1 + ((from * 7 + to * 3) % 11) as f32 / 40.0,
        _ => 0.0,
    };
    Answer::new(Arc::new((0..n * n).map(score).collect::<Vec<f32>>()))
}

/// Each predicate holds at every hook of the first position.
fn places(scene: &Scene, ask: &OfPlaces) -> Answer {
    let found = |point| Match { place: Place { point, at: vec![(hooks::Axis::Pos, 0)] }, value: 2.0 };
    let listed: Vec<Match> = scene.schema.points().into_iter().map(found).collect();
    Answer::new(vec![Places { count: listed.len() as u64, listed }; ask.0.len()])
}

/// Each watch has a value at every hook, which grows with the checkpoint.
fn watched(scene: &Scene, ask: &OfWatches) -> Answer {
    let step = scene.checkpoints.at.unwrap_or(0);
    let found = |(i, point)| Match { place: Place { point, at: vec![] }, value: (i + 10 * step) as f64 };
    let values: Vec<Match> = scene.schema.points().into_iter().enumerate().map(found).collect();
    Answer::new(vec![Ok::<_, String>(values); ask.0.len()])
}

fn is_edited(want: &Want) -> bool {
    !want.spec.edits.is_empty()
}

/// With a baseline where there are edits.
fn with_baseline<T>(run: T, want: &Want, baseline: impl FnOnce(&T) -> T) -> WithBaseline<T> {
    let baseline = is_edited(want).then(|| baseline(&run));
    WithBaseline { run, baseline }
}

/// Gradients are half as large.
fn scale(numbers: Numbers) -> f32 {
    if numbers.is_gradient() { 0.5 } else { 1.0 }
}

fn statistics(scene: &Scene, OfHook { point, numbers }: &OfHook, want: &Want) -> Result<Answer, String> {
    if scene.schema.check(*point).is_err() {
        return Err(format!("{point} is off"));
    }
    let shape = scene.schema.shape(*point, want.spec.tokens.len());
    let count = shape.iter().product::<usize>().min(4096);
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 64) as f32 - 32.0) / 16.0 * scale(*numbers)).collect();
    let stats = with_baseline(stats(&values, 64), want, |_| stats(&values[..count / 2], 64));
    Ok(Answer::new(Statistics { shape, dtype: "f32".into(), stats }))
}

fn matrix(scene: &Scene, ask: &OfSlice, want: &Want) -> Result<Answer, String> {
    let size = |axis| scene.schema.size(axis, want.spec.tokens.len());
    let (rows, columns) = (size(ask.slice.rows), size(ask.slice.columns));
    let at = ask.slice.fixed.map_or(0, |(_, at)| at);
    let value = |i: usize| (((i * 37 + at * 11) % 64) as f32 / 16.0 - 2.0) * scale(ask.numbers);
    let values = with_baseline((0..rows * columns).map(value).collect(), want, |values: &Vec<f32>| halved(values));
    Ok(Answer::new(Matrix { rows, columns, values }))
}

fn halved(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x / 2.0).collect()
}

fn head(ask: &OfHead, want: &Want) -> Result<Answer, String> {
    let n = want.spec.tokens.len();
    if ask.numbers.is_gradient() && ask.which == WhichAttention::ValueWeighted {
        return Err("the value-weighted pattern has no gradient".into());
    }
    let value = |q: usize, k: usize| match ask.which {
        _ if ask.numbers.is_gradient() => (q as f32 - 2.0 * k as f32) / 32.0 * (ask.head as f32 + 1.0),
        WhichAttention::Scores if k > q => f32::NEG_INFINITY,
        WhichAttention::Pattern | WhichAttention::ValueWeighted if k > q => 0.0,
        WhichAttention::Scores => (q as f32 - k as f32) / 4.0,
        WhichAttention::ValueWeighted => (q + k) as f32,
        WhichAttention::Pattern if k + 1 == q => 0.75,
        WhichAttention::Pattern => (ask.head as f32 + 1.0) / 16.0,
    };
    let values: Vec<f32> = (0..n * n).map(|i| value(i / n, i % n)).collect();
    Ok(Answer::new(with_baseline(values, want, |values: &Vec<f32>| halved(values))))
}

fn heads(scene: &Scene, ask: &OfHeads, want: &Want) -> Result<Answer, String> {
    let (dims, n) = (scene.schema.dims, want.spec.tokens.len());
    let pool = n.div_ceil(ask.side).max(1);
    let (side, blocks) = (n.div_ceil(pool), ask.block.map_or(dims.n_layers, |_| 1));
    let value = |h: usize, i: usize| {
        let (q, k) = (i / side, i % side);
        let sign = if ask.numbers.is_gradient() && (q + k) % 2 == 0 { -1.0 } else { 1.0 };
        if k > q { f32::NAN } else { sign * (h + 1) as f32 / (1 + dims.n_heads + q - k) as f32 }
    };
    let head = |h: usize| (0..side * side).map(|i| value(h, i)).collect();
    let heads = (0..blocks).map(|_| (0..dims.n_heads).map(head).collect()).collect();
    Ok(Answer::new(Thumbnails { side, pool, heads }))
}

/// Sums have signs.
fn totals(scene: &Scene, OfEveryHook(numbers, _): &OfEveryHook) -> Answer {
    let signed = !matches!(numbers, Numbers::Gradients { times: Factor::One, .. });
    let total = |(i, point): (usize, HookPoint)| {
        let sign = if signed && i % 3 == 0 { -1.0 } else { 1.0 };
        (point, sign * 4.0 / (1 << (i % 12)) as f64)
    };
    Answer::new(HookTotals(scene.schema.points().into_iter().enumerate().map(total).collect()))
}

fn next_tokens(scene: &Scene, want: &Want) -> Answer {
    let summary = summary(scene, want);
    Answer::new(NextTokens {
        top: summary.top[0].clone(),
        was: summary.was[0].clone(),
        kl: is_edited(want).then_some(0.5),
        logits: summary.logits,
        baseline: is_edited(want).then_some(summary.baseline_logits),
    })
}

fn lens(scene: &Scene, ask: &AtPositions, want: &Want) -> Result<Answer, String> {
    let prediction = |layer: usize, pos: usize, i: usize, text: &str| Prediction {
        id: i as u32,
        text: text.to_string(),
        logit: 2.0,
        prob: (layer + 1) as f64 / 8.0 / (1 + (pos + i) % 3) as f64,
        baseline_prob: 0.5,
    };
    let cell = |layer: usize, pos: usize| LensCell {
        kl: 1.0 / (1.0 + layer as f64),
        moved: is_edited(want).then_some(layer as f64 / 8.0),
        shift: 0.0,
        target: None,
        top: [" Mary", " John", " the"].iter().enumerate().map(|(i, text)| prediction(layer, pos, i, text)).collect(),
    };
    let positions = ask.first..ask.first + ask.count;
    let row = |layer| positions.clone().map(|pos| cell(layer, pos)).collect();
    let cells: Vec<Vec<LensCell>> = (0..=scene.schema.dims.n_layers).map(row).collect();
    let (about, lenses) = (LensAbout::from(&Lens::logit(scene.schema.dims.n_layers)), 1);
    let cells = with_baseline(cells, want, Clone::clone);
    Ok(Answer::new(LensGrid { about, lenses, first: ask.first, cells }))
}

/// Three features, of which the strongest has a label; without the edits the last is as strong as the first.
fn features(ask: &features::AtPosition, want: &Want) -> Answer {
    let at = |values: [f32; 3]| FeaturesAt {
        pos: ask.pos,
        l0: 3,
        mse: 0.25,
        variance_explained: 0.875,
        features: [17, 3, 40].into_iter().zip(values).collect(),
    };
    let strength = (ask.pos + 1) as f32 / 2.0;
    Answer::new(features::Found {
        architecture: "topk".into(),
        features: with_baseline(at([4.0 * strength, 2.0, 0.5]), want, |_| at([4.0 * strength, 1.0, 4.0])),
        labels: vec![Some("names of people".into()), None, None],
        promoted: [" Mary", " the", "\n"].map(|token| vec![token.into(), " John".into()]).to_vec(),
    })
}

/// A feature that fires on every third position.
fn feature(ask: &features::OfFeature, want: &Want) -> Answer {
    let values =
        (0..want.spec.tokens.len()).map(|pos| if pos % 3 == 1 { 1.5 * (pos + 1) as f32 } else { 0.0 }).collect();
    let texts = |texts: [&str; 3]| texts.map(String::from).to_vec();
    let link = |block, ids: [u32; 2]| Links {
        hook: HookPoint::Block(block, BlockHook::ResidPost),
        features: ids
            .map(|feature| Linked { feature, weight: 0.5, label: (feature == 7).then(|| "places".into()) })
            .to_vec(),
    };
    Answer::new(features::Followed {
        activations: with_baseline(values, want, |values: &Vec<f32>| halved(values)),
        about: AboutFeature {
            label: (ask.feature == 17).then(|| "names of people".into()),
            tokens: Some(Promoted { promoted: vec![(0, 1.0)], suppressed: vec![(1, -1.0)] }),
            written_by: None,
            read_by: Some(link(2, [7, 9])),
        },
        promoted: texts([" Mary", " John", " Anna"]),
        suppressed: texts([" the", ".", "\n"]),
    })
}

/// Two lenses at a position, whose target rises through the layers.
fn lens_rack(scene: &Scene, ask: &AtPosition, want: &Want) -> Result<Answer, String> {
    let cell = |depth: usize, text: &str| LensCell {
        top: vec![Prediction { id: 1, text: text.into(), logit: 2.0, prob: 0.5, baseline_prob: 0.5 }],
        kl: 1.0 / (1.0 + depth as f64),
        moved: is_edited(want).then_some(0.25),
        shift: 0.0,
        target: ask.target.map(|_| TokenRank { rank: 90 / (1 + depth), logit: 1.0, prob: depth as f64 / 8.0 }),
    };
    let lens = |name, text: &str, first: usize| {
        let points = lens_points(scene.schema.dims.n_layers).into_iter().enumerate().skip(first);
        let rows: Vec<(usize, HookPoint)> = points.collect();
        let cells: Vec<LensCell> = rows.iter().map(|(depth, _)| cell(*depth, text)).collect();
        let baseline = if is_edited(want) { cells.clone() } else { vec![] };
        (LensAbout { name, rows }, LensColumn { cells, baseline })
    };
    Ok(Answer::new(LensRack { lenses: vec![lens("logit", " Mary", 0), lens("jacobian", " John", 1)] }))
}

fn attribution(scene: &Scene, ask: &OfLogit, want: &Want) -> Result<Answer, String> {
    let dims = scene.schema.dims;
    let parts = |scale: f64| {
        let head = |l: usize, h: usize| scale * ((l * 7 + h * 5) % 9) as f64 / 4.0 - 1.0;
        let mut parts = Attribution {
            embed: 0.5,
            heads: (0..dims.n_layers).map(|l| (0..dims.n_heads).map(|h| head(l, h)).collect()).collect(),
            mlps: (0..dims.n_layers).map(|l| l as f64 * scale).collect(),
            bias: 0.125,
            constant: if ask.distractor.is_some() { 0.0 } else { 1.0 },
            logit: 0.0,
        };
        parts.logit = parts.sum() + parts.constant;
        parts
    };
    Ok(Answer::new(with_baseline(parts(1.0), want, |_| parts(0.5))))
}

fn scores(scene: &Scene, want: &Want) -> Answer {
    let dims = scene.schema.dims;
    let score = |l: usize, h: usize| HeadScores {
        induction: (l * dims.n_heads + h) as f64 / 16.0,
        entropy: h as f64,
        ..HeadScores::default()
    };
    let scores: Vec<Vec<HeadScores>> =
        (0..dims.n_layers).map(|l| (0..dims.n_heads).map(|h| score(l, h)).collect()).collect();
    Answer::new(with_baseline(scores, want, Clone::clone))
}

/// Nodes or edges, the first of which are patched.
fn parts(scene: &Scene, ask: &OfParts) -> Result<Answer, String> {
    let shape = GraphShape::from(scene.schema.dims);
    let all: Vec<Part> = match ask.what {
        What::Nodes => shape.senders().into_iter().map(Part::Node).collect(),
        What::Edges => shape.edges().map(Part::Edge).collect(),
        What::Features => scene
            .schema
            .dictionaries()
            .keys()
            .flat_map(|hook| {
                [Some(3), Some(17), None].map(|feature| Part::Feature(FeatureNode { hook: *hook, feature }))
            })
            .collect(),
    };
    let score = |i: usize| (3.0 - i as f64 / 8.0) * if i % 3 == 1 { -1.0 } else { 1.0 };
    let part = |(i, part)| (part, score(i), (i < 5).then(|| score(i) * 0.75));
    let parts = all.into_iter().take(24).enumerate().map(part).collect();
    let faithful = |edges: usize| 1.0 - (-(edges as f64) / 8.0).exp();
    let found =
        |edges: usize| Faithfulness { edges, value: 4.0 * faithful(edges) - 1.5, faithfulness: faithful(edges) };
    let circuit = ask.circuit.as_ref().map(|chosen| match chosen {
        ChosenEdges::Strongest(size) => Ok(found(*size)),
        ChosenEdges::Listed(edges) => Ok(found(edges.len())),
    });
    let curve = if ask.curve { [0, 1, 2, 5, 10, 20].map(found).to_vec() } else { vec![] };
    Ok(Answer::new(Scores { value: 2.5, contrast_value: -1.5, parts, left: 3, circuit, curve, left_out: vec![] }))
}

fn explained(want: &Want) -> Answer {
    let names: Vec<String> = ["embed", "L0H0", "L0H1", "0_mlp_out", "bias"].map(String::from).to_vec();
    let value = |i: usize, j: usize| (i as f64 - 2.0) * (j as f64 + 1.0) / 8.0;
    let matrix: Vec<Vec<f64>> = (0..5).map(|i| (0..5).map(|j| value(i, j)).collect()).collect();
    let sum = matrix.iter().flatten().sum();
    let explained = Explained { score: sum, rows: names.clone(), columns: names, matrix, sum };
    Answer::new(with_baseline(explained, want, Clone::clone))
}

/// A map whose last cells are still to come.
fn sweep(scene: &Scene, ask: &OfMap, want: &Want) -> Result<Answer, String> {
    let grid = ask.map.grid(&scene.schema, want.spec.tokens.len());
    let measure = |i: usize| Measure { kl: i as f64 / 8.0, logit_diff: 2.0 - i as f64 / 4.0, prob: 0.5 };
    let measures = (0..grid.cells()).map(|i| (i + 3 < grid.cells()).then(|| measure(i))).collect();
    Ok(Answer::new(Filling {
        measures,
        grid,
        before: Measure { kl: 0.0, logit_diff: 2.0, prob: 0.75 },
        contrast: ask.map.is_patch().then_some(Measure { kl: 1.0, logit_diff: -2.0, prob: 0.25 }),
        left: Some(4.0),
        comparison: None,
        breakpoints: ask.breakpoints.clone(),
        stopped: None,
    }))
}

/// Norms that grow with the checkpoint, and heads that get better.
pub fn measured(scene: &Scene, want: &Want) -> CheckpointMetrics {
    let dims = scene.schema.dims;
    let at = scene.checkpoints.at.unwrap_or(0) as f64;
    let of = |by: f64| RunMetrics {
        norms: scene.schema.points().into_iter().map(|point| (point, by * (at + 1.0).powi(2))).collect(),
        heads: vec![
            vec![HeadScores { induction: by * at / 20.0, ..HeadScores::default() }; dims.n_heads];
            dims.n_layers
        ],
    };
    CheckpointMetrics { run: of(1.0), baseline: (!want.spec.edits.is_empty()).then(|| of(0.5)) }
}

pub fn summary(scene: &Scene, want: &Want) -> Summary {
    let edits = want.spec.edits.len();
    let shift = edits as f64 * 0.125;
    let top = || {
        [" Mary", " John", "\n", " the"].iter().enumerate().map(|(i, text)| Prediction {
            id: i as u32,
            text: text.to_string(),
            logit: 8.0 - i as f32,
            prob: 0.5f64.powi(i as i32 + 1),
            baseline_prob: 0.5f64.powi(i as i32 + 1) - if i == 0 { shift } else { 0.0 },
        })
    };
    let points = scene.schema.points();
    let changes = points.into_iter().filter(|_| edits > 0).map(|point| HookChange {
        point,
        relative: if point < HookPoint::Block(1, hooks::BlockHook::Z) { 0.0 } else { 0.25 },
    });
    let touched = |i: usize| hooks::Effect {
        touched: 288,
        changed: if i == 1 { 0 } else { 288 },
        delta_l2: if i == 1 { 0.0 } else { 2.5 },
    };
    Summary {
        elapsed_ms: 4.0,
        kl: if edits > 0 { vec![0.5; want.spec.tokens.len()] } else { vec![] },
        top: vec![top().collect()],
        was: vec![top().skip(1).collect()],
        effects: (0..edits)
            .map(|i| EditEffect {
                effect: touched(i),
                kl: vec![if i == 1 { 0.0 } else { 0.5 }],
                no_effect: (i == 1).then(|| NoEffect::Already(want.spec.edits[i].op)),
            })
            .collect(),
        changes: changes.collect(),
        undefined_rows: 0,
        logits: (0..960).map(|id| 8.0 - id as f32).collect(),
        baseline_logits: if edits > 0 { (0..960).map(|id| 8.0 - 1.5 * id as f32).collect() } else { vec![] },
    }
}

/// Texts of the words `a` to `z`, in the edited one with capitals and less likely; every third block stays as it was.
pub fn continuation(scene: &Scene, ask: &continuation::OfContinuation, want: &Want) -> Answer {
    let added = |begun: &Vec<u32>, then: &Vec<u32>, count: usize, first: u32| {
        let made = |at: usize| {
            let id = then.get(at - begun.len()).copied().unwrap_or(first + (at % 26) as u32);
            let token = Token { id, text: format!(" {}", char::from_u32(id).unwrap()) };
            let prob = 1.0 / (1 + at % 8) as f64;
            continuation::Made { token, prob, baseline_prob: if first == 97 { prob } else { prob / 2.0 } }
        };
        let change = |at: usize, block: usize| if block.is_multiple_of(3) { 0.0 } else { 0.125 * (at + 1) as f64 };
        let changes = |at: usize| (0..scene.schema.dims.n_layers).map(|block| change(at, block)).collect();
        continuation::Added {
            tokens: (begun.len()..count.max(begun.len() + then.len())).map(made).collect(),
            stop: Some(StopReason::Length),
            changes: if first == 97 { vec![] } else { (0..count).map(changes).collect() },
            others: match ask.compare {
                Compare::Difference => (0..count).map(|at| 1.0 / (2 + at % 8) as f64).collect(),
                Compare::Edited | Compare::Baseline => vec![],
            },
        }
    };
    let job = ask.job.as_ref();
    let of = |begun: fn(&Beginning) -> &Option<Vec<u32>>, side: usize, first: u32| {
        let of_job = |job: &continuation::Job| {
            let continuation::Job { beginning, count, .. } = job;
            begun(beginning).as_ref().map(|begun| added(begun, &beginning.then[side], *count, first))
        };
        job.and_then(of_job)
    };
    let summary = summary(scene, want);
    let next = NextTokens {
        top: summary.top[0].clone(),
        was: summary.was[0].clone(),
        kl: None,
        logits: vec![],
        baseline: None,
    };
    Answer::new(continuation::Progress {
        unedited: of(|begun| &begun.unedited, 0, 97),
        edited: of(|begun| &begun.edited, 1, 65),
        next: ask.at.map(|_| Arc::new(next)),
        is_done: true,
        breakpoints: vec![],
    })
}

/// A parabola whose least is at 0, and a vector of norm 2.
fn dose(scene: &Scene, OfDose(ask, _): &OfDose) -> Answer {
    let measure = |x: f64| Measure { kl: x * x / 16.0, logit_diff: 2.0 - x / 2.0, prob: 1.0 / (1.0 + x.abs()) };
    let point = |amount: &f32| Some(DosePoint { amount: *amount, measure: measure((*amount).into()), probs: vec![] });
    let curve = DoseCurve { unedited: Some(measure(0.0)), points: ask.amounts.iter().map(point).collect() };
    let edit = &ask.edits[ask.varied];
    let at = |point| edit.op.vector().map(|name| Steered { name, point, norm: 2.0, share: 0.125 });
    let steered = edit.target.points(&scene.schema.dims).unwrap();
    Answer::new(Curve { curve, steered: steered.into_iter().filter_map(at).collect() })
}
