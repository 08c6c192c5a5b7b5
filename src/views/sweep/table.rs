use crate::{
    analysis::cell,
    engine::{Filling, Metric},
    views::table::{Table, short},
};

/// The map as a table of one metric; a cell that is still to come is empty.
pub(super) fn table(filling: &Filling, metric: Metric) -> Table {
    let columns = filling.grid.columns.len();
    let value = |cell: usize| filling.value(cell, metric).unwrap_or(f64::NAN);
    let header = std::iter::once(metric.name().to_string()).chain(filling.grid.columns.iter().map(|c| c.name()));
    let rows = filling.grid.rows.iter().enumerate().map(|(y, row)| {
        let values = (0..columns).map(|x| cell(value(y * columns + x)));
        std::iter::once(row.name()).chain(values).collect()
    });
    let shape = vec![filling.grid.rows.len(), columns];
    let values = (0..filling.measures.len()).map(|cell| short(value(cell))).collect();
    let arrays = vec![(metric.name().replace('-', "_"), shape, values)];
    Table { header: header.collect(), rows: rows.collect(), arrays }
}
