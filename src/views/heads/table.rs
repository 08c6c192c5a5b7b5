use crate::{
    analysis::{HeadScores, Score, cell},
    views::table::{Table, short},
};

/// A row for each head, a column for each score.
pub(super) fn table(scores: &[Vec<HeadScores>]) -> Table {
    let titles = Score::ALL.iter().map(|score| score.title().to_string());
    let header = ["block".to_string(), "head".into()].into_iter().chain(titles).collect();
    let rows = scores.iter().enumerate().flat_map(|(block, row)| {
        row.iter().enumerate().map(move |(head, s)| {
            let numbers = Score::ALL.iter().map(move |score| cell(score.of(s)));
            [block.to_string(), head.to_string()].into_iter().chain(numbers).collect()
        })
    });
    let shape = vec![scores.len(), scores.first().map_or(0, Vec::len)];
    let array = |score: &Score| {
        let values = scores.iter().flatten().map(|s| short(score.of(s))).collect();
        (score.title().replace(' ', "_"), shape.clone(), values)
    };
    Table { header, rows: rows.collect(), arrays: Score::ALL.iter().map(array).collect() }
}
