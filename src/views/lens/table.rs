use super::state::{left_out_edits, shown_cells};
use crate::{
    analysis::cell,
    engine::{LensCell, LensGrid},
    views::{
        Scene,
        table::{Table, plain, quoted, short},
    },
};

/// A row for each stream and position.
pub(super) fn table(grid: &LensGrid, scene: &Scene) -> Table {
    let (first, cells) = (grid.first, shown_cells(grid, scene));
    let header = ["stream", "position", "after", "token", "id", "probability", "kl from final"];
    let left_out: Vec<String> = left_out_edits(scene).into_iter().map(ToString::to_string).collect();
    // a column that says what the numbers are without, where they are
    let without = (!left_out.is_empty()).then(|| left_out.join("; "));
    let without = without.as_ref();
    let rows = cells.iter().zip(&grid.about.rows).flat_map(|(row, (_, point))| {
        row.iter().zip(first..).filter_map(move |(here, pos)| {
            let likeliest = here.top.first();
            let [token, id, prob] =
                likeliest.map(|p| [quoted(&p.text), p.id.to_string(), cell(p.prob)]).unwrap_or_default();
            let (after, moved) = (quoted(&scene.tokens().get(pos)?.text), here.moved.map_or_else(String::new, cell));
            let cells = [point.to_string(), pos.to_string(), after, token, id, prob, cell(here.kl), moved];
            Some(cells.into_iter().chain(without.cloned()).collect())
        })
    });
    let shape = vec![cells.len(), cells.first().map_or(0, Vec::len)];
    let array = |name: &str, of: fn(&LensCell) -> f64| {
        (name.to_string(), shape.clone(), cells.iter().flatten().map(|cell| short(of(cell))).collect())
    };
    let probability = |cell: &LensCell| cell.top.first().map_or(f64::NAN, |p| p.prob);
    let last = first + shape[1];
    #[allow(clippy::cast_precision_loss, reason = "positions")]
    let positions = ("position".to_string(), vec![shape[1]], (first..last).map(|pos| pos as f32).collect());
    let moved = array(&format!("kl_from_{}", plain(scene.beside())), |cell| cell.moved.unwrap_or(f64::NAN));
    let arrays = vec![positions, array("probability", probability), array("kl_from_final", |cell| cell.kl), moved];
    let header = header.into_iter().map(String::from).chain([format!("kl from {}", scene.beside())]);
    let header = header.chain(without.map(|_| "without edits".into()));
    Table { header: header.collect(), rows: rows.collect(), arrays }
}
