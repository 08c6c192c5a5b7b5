use crate::{
    analysis::{Stats, cell},
    engine::Statistics,
    views::Table,
};

/// The statistics and, beside them, those of the run with this name.
pub(super) fn table(statistics: &Statistics, beside: &str) -> Table {
    let (stats, baseline) = (&statistics.stats.run, statistics.stats.baseline.as_ref());
    let extreme = |e: Option<(f32, usize)>| cell(e.map_or(f32::NAN, |(x, _)| x));
    let column = |s: &Stats| {
        let moments = [s.mean, s.std].map(cell);
        let counts = [s.zeros, s.nan, s.infinite].map(|n| n.to_string());
        [moments.to_vec(), vec![extreme(s.min), extreme(s.max), cell(s.l2)], counts.to_vec()].concat()
    };
    let names = ["mean", "std", "min", "max", "l2", "zeros", "nans", "infinite"];
    let (now, before) = (column(stats), baseline.map(column));
    let row = |(i, name): (usize, &str)| {
        let before = before.as_ref().map(|column| column[i].clone());
        [name.to_string(), now[i].clone()].into_iter().chain(before).collect()
    };
    let header = ["statistic", "value"].into_iter().chain(baseline.map(|_| beside)).map(String::from);
    Table { header: header.collect(), rows: names.into_iter().enumerate().map(row).collect(), arrays: vec![] }
}
