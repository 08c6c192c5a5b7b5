//! A naive reading of predicates: every place spelt out.

use std::collections::BTreeMap;

use pythia_tui::{
    hooks::{Axis, HookPoint, Schema, Slot, Target},
    predicate::{Call, Function, Over, Place, Predicate, Quantity, Subject, Test},
};

use super::N_POS;

/// An activation by the index along each axis.
pub type Array = BTreeMap<Vec<(Axis, usize)>, f64>;

/// What is reduced to one number, now and before, by the place that is left.
type Groups = BTreeMap<Vec<(Axis, usize)>, Vec<(f64, f64)>>;

pub type Activations = BTreeMap<HookPoint, Array>;

/// Each value by its place, as a run would hold it.
pub fn arrays(schema: &Schema, value: &mut dyn FnMut() -> f32) -> Activations {
    let array = |point: HookPoint| {
        let (axes, shape) = (schema.axes(point), schema.shape(point, N_POS));
        let mut places: Vec<Vec<(Axis, usize)>> = vec![vec![]];
        for (axis, n) in axes.iter().zip(shape) {
            places = places.iter().flat_map(|at| (0..n).map(move |i| [&at[..], &[(*axis, i)]].concat())).collect();
        }
        (point, places)
    };
    let all: Vec<_> = schema.points().into_iter().map(array).collect();
    all.into_iter().map(|(point, at)| (point, at.into_iter().map(|at| (at, value().into())).collect())).collect()
}

pub fn row_major(array: &Array) -> Vec<f32> {
    array.values().map(|x| *x as f32).collect()
}

/// What is under the function, at each place that is left.
fn naive_values(quantity: &Quantity, array: &Array, before: &Array) -> Option<Array> {
    let selection = match &quantity.of {
        Subject::Hook(region) => &region.selection,
        Subject::Blocks(_, selection) => selection,
    };
    let size = |axis: Axis| array.keys().flatten().filter(|(a, _)| *a == axis).map(|(_, i)| i + 1).max();
    let mut selected: Vec<(Axis, Vec<usize>)> = vec![];
    for of in &selection.0 {
        let n = size(of.axis)? as i64;
        let count = |i: i64| if i < 0 { i + n } else { i };
        let indices = of.slots.iter().flat_map(|slot| match *slot {
            Slot::Index(i) => count(i)..count(i) + 1,
            Slot::Slice(a, b) => a.map_or(0, count)..b.map_or(n, count),
        });
        selected.push((of.axis, indices.map(|i| i as usize).collect()));
    }
    let within = |at: &Vec<(Axis, usize)>| {
        selected.iter().all(|(axis, indices)| at.iter().all(|(a, i)| a != axis || indices.contains(i)))
    };
    let mut now: Array = array.iter().filter(|(at, _)| within(at)).map(|(at, x)| (at.clone(), *x)).collect();
    for Call { function, over } in &quantity.calls {
        if *function == Function::Abs {
            now.values_mut().for_each(|x| *x = x.abs());
            continue;
        }
        let axes: Vec<Axis> = now.keys().next().unwrap().iter().map(|(axis, _)| *axis).collect();
        let gone: Vec<Axis> = match over {
            Over::All => axes,
            Over::Last => vec![*axes.last().unwrap()],
            Over::Axis(axis) => vec![*axes.iter().find(|a| *a == axis)?],
        };
        let mut groups: Groups = BTreeMap::new();
        for (at, x) in &now {
            let left = at.iter().filter(|(axis, _)| !gone.contains(axis)).copied().collect();
            groups.entry(left).or_default().push((*x, before.get(at).copied().unwrap_or(0.0)));
        }
        now = groups.into_iter().map(|(at, pairs)| (at, naive(*function, &pairs))).collect();
    }
    Some(now)
}

fn naive(function: Function, pairs: &[(f64, f64)]) -> f64 {
    let x = || pairs.iter().map(|pair| pair.0);
    let n = pairs.len() as f64;
    let mean = x().sum::<f64>() / n;
    let most = |sign: f64| {
        x().fold(-sign * f64::INFINITY, |m, x| {
            if x.is_nan() || m.is_nan() {
                f64::NAN
            } else if sign * x > sign * m {
                x
            } else {
                m
            }
        })
    };
    match function {
        Function::Abs
        | Function::Induction
        | Function::PreviousToken
        | Function::DuplicateToken
        | Function::FirstToken => unreachable!(),
        Function::Norm => x().map(|x| x * x).sum::<f64>().sqrt(),
        Function::Max => most(1.0),
        Function::Min => most(-1.0),
        Function::Mean => mean,
        Function::Std => (x().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt(),
        Function::Entropy => x().map(|x| if x == 0.0 { 0.0 } else { -x * x.ln() }).sum(),
        Function::Delta => {
            let moved: f64 = pairs.iter().map(|(a, b)| if a == b { 0.0 } else { (a - b).powi(2) }).sum();
            let norm: f64 = pairs.iter().map(|(_, b)| if b.is_finite() { b * b } else { 0.0 }).sum();
            if moved == 0.0 { 0.0 } else { (moved / norm).sqrt() }
        }
    }
}

/// A test at every place of its domain.
struct Read<'a> {
    test: &'a Test,
    domain: Vec<(Place, f64)>,
}

fn read<'a>(test: &'a Test, schema: &Schema, now: &Activations, before: &Activations) -> Read<'a> {
    let points: Vec<HookPoint> = match &test.quantity.of {
        Subject::Hook(region) => region.target.points(&schema.dims).unwrap(),
        Subject::Blocks(blocks, _) => {
            let text = format!("blocks.{blocks}.hook_resid_pre");
            let named: Vec<_> = text.parse::<Target>().unwrap().points(&schema.dims).unwrap();
            let named =
                |p: &HookPoint| p.block().map_or(text.contains('*'), |b| named.iter().any(|n| n.block() == Some(b)));
            schema.points().into_iter().filter(named).collect()
        }
    };
    let mut domain = vec![];
    for point in points {
        for (at, x) in naive_values(&test.quantity, &now[&point], &before[&point]).into_iter().flatten() {
            let at = at.into_iter().filter(|(axis, _)| *axis != Axis::One).collect();
            domain.push((Place { point, at }, x));
        }
    }
    Read { test, domain }
}

impl Read<'_> {
    fn several(&self) -> bool {
        let text = match &self.test.quantity.of {
            Subject::Hook(region) => region.to_string(),
            Subject::Blocks(blocks, _) => format!("blocks.{blocks}"),
        };
        text.split('.').nth(1).is_some_and(|b| b.split('[').next().unwrap().contains(['*', '-', ',']))
    }

    fn leaves_open(&self, axis: Axis) -> bool {
        let selection = match &self.test.quantity.of {
            Subject::Hook(region) => &region.selection,
            Subject::Blocks(_, selection) => selection,
        };
        !selection.0.iter().any(|s| s.axis == axis && matches!(s.slots[..], [Slot::Index(_)]))
    }

    /// Whether a place of this test is one that `place` looks at.
    fn agrees(&self, own: &Place, place: &Place) -> bool {
        if let (Some(a), Some(b)) = (own.point.block(), place.point.block())
            && self.several()
            && a != b
        {
            return false;
        }
        let same = |a: Axis, b: Axis| a == b || (a.is_causal() && b.is_causal());
        let open = own.at.iter().filter(|(axis, _)| self.leaves_open(*axis));
        let mut pairs =
            open.flat_map(|(axis, i)| place.at.iter().filter(|(b, _)| same(*axis, *b)).map(move |(_, j)| (i, j)));
        pairs.all(|(i, j)| i == j)
    }
}

/// A predicate whose tests were read.
enum Tree<'a> {
    Test(Read<'a>),
    Not(Box<Tree<'a>>),
    And(Box<Tree<'a>>, Box<Tree<'a>>),
    Or(Box<Tree<'a>>, Box<Tree<'a>>),
}

impl Tree<'_> {
    fn holds(&self, place: &Place) -> bool {
        match self {
            Self::Test(read) => {
                // at the place's own hook, if the test is of that too
                let here = read.domain.iter().any(|(own, _)| own.point == place.point);
                let mut seen = read.domain.iter().filter(|(own, _)| !here || own.point == place.point);
                seen.any(|(own, x)| read.agrees(own, place) && read.test.condition.holds(*x))
            }
            Self::Not(inner) => !inner.holds(place),
            Self::And(a, b) => a.holds(place) && b.holds(place),
            Self::Or(a, b) => a.holds(place) || b.holds(place),
        }
    }

    fn domain(&self) -> Vec<(Place, f64)> {
        match self {
            Self::Test(read) => read.domain.clone(),
            Self::Not(inner) => inner.domain(),
            Self::And(a, _) => a.domain(),
            Self::Or(a, b) => [a.domain(), b.domain()].concat(),
        }
    }

    fn places(&self) -> Vec<(Place, f64)> {
        match self {
            Self::Test(read) => read.domain.iter().filter(|(_, x)| read.test.condition.holds(*x)).cloned().collect(),
            Self::Not(inner) => inner.domain().into_iter().filter(|(place, _)| !inner.holds(place)).collect(),
            Self::And(a, b) => a.places().into_iter().filter(|(place, _)| b.holds(place)).collect(),
            Self::Or(a, b) => [a.places(), b.places()].concat(),
        }
    }
}

fn tree<'a>(predicate: &'a Predicate, schema: &Schema, now: &Activations, before: &Activations) -> Tree<'a> {
    let part = |p| Box::new(tree(p, schema, now, before));
    match predicate {
        Predicate::Test(test) => Tree::Test(read(test, schema, now, before)),
        Predicate::Not(inner) => Tree::Not(part(inner)),
        Predicate::And(a, b) => Tree::And(part(a), part(b)),
        Predicate::Or(a, b) => Tree::Or(part(a), part(b)),
    }
}

pub fn naive_places(
    predicate: &Predicate,
    schema: &Schema,
    now: &Activations,
    before: &Activations,
) -> Vec<(Place, f64)> {
    let mut all = tree(predicate, schema, now, before).places();
    // in execution order, then row-major; of equal places the first that is written
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.dedup_by(|b, a| a.0 == b.0);
    all
}
