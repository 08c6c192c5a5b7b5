use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    args::{EditArgs, HooksArgs},
    prepare::{self, Prepared},
};
use crate::{
    hooks::{HookPoint, Schema, description, formula},
    model::{Model, sources},
    printed,
};

pub(super) fn main(args: &HooksArgs) -> Result<()> {
    let Prepared { engine, setup, .. } = prepare::headless(&args.model, &args.prompt, &EditArgs::default())?;
    let n_pos = setup.prompt.1.len();
    let (schema, model) = (&engine.schema, &engine.loaded.model);
    let mut out = printed::stdout();
    if args.json {
        let all: Vec<Value> = schema.points().into_iter().map(|p| describe(p, schema, n_pos, model)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        for point in schema.points() {
            writeln!(out, "{point} {:?}", schema.shape(point, n_pos))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// One hook, as an object.
fn describe(point: HookPoint, schema: &Schema, n_pos: usize, model: &Model) -> Value {
    let (folded, dtype) = (model.processing.is_folded(), model.dtype_at(point));
    let shape = schema.shape(point, n_pos);
    let axes: Vec<&str> = schema.axes(point).iter().map(|axis| axis.name()).collect();
    let tensors: Vec<Value> = sources(point, &schema.dims, folded, None)
        .into_iter()
        .map(|source| json!({"name": source.tensor, "part": source.part.to_string()}))
        .collect();
    json!({
        "name": point.to_string(),
        "shape": shape,
        "axes": axes,
        "dims": format!("[{}]", axes.join(", ")),
        "description": description(point, &schema.dims),
        "formula": formula(point, &schema.dims, folded),
        "dtype": dtype.as_str(),
        "bytes": shape.iter().product::<usize>() * dtype.size_in_bytes(),
        "tensors": tensors,
    })
}
