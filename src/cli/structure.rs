use std::io::{IsTerminal, Write};

use anyhow::Result;
use serde_json::{Value, json};

use super::args::StructureArgs;
use crate::{
    diagram::{Picture, Subject},
    experiment::ModelChoice,
    hooks::{HookPoint, Schema},
    model::{Config, Module, hooked_transformer, hugging_face, module_of, modules},
    printed,
};

/// Print the module tree of TransformerLens or of Hugging Face, the hooks, or a block's diagram.
pub(super) fn main(args: &StructureArgs) -> Result<()> {
    let choice = ModelChoice::from(&args.model);
    let config = choice.config()?;
    let mut out = printed::stdout();
    if args.diagram {
        out.write_all(diagram(&config, args).as_bytes())?;
    } else {
        match (args.hf, args.json) {
            (false, true) => writeln!(out, "{}", serde_json::to_string_pretty(&hooks_json(&config))?)?,
            (true, true) => writeln!(out, "{}", serde_json::to_string_pretty(&modules_json(&config))?)?,
            (false, false) if args.hooks => print_hooks(&mut out, &config)?,
            (false, false) => writeln!(out, "{}", hooked_transformer(&config, choice.processing))?,
            (true, false) => writeln!(out, "{}", hugging_face(&config))?,
        }
    }
    out.flush()?;
    Ok(())
}

/// The diagram of one block, which represents all, no wider than the terminal.
fn diagram(config: &Config, args: &StructureArgs) -> String {
    /// The width if stdout is not a terminal; every hook then has its full name and its shape.
    const COLUMNS: u16 = 110;
    /// The rows of a sequential block at that width.
    const ROWS: usize = 38;
    let terminal = || if std::io::stdout().is_terminal() { crossterm::terminal::size().ok() } else { None };
    let columns = args.width.or_else(|| terminal().map(|(columns, _)| columns)).unwrap_or(COLUMNS);
    let schema = Schema::new(config.dims());
    let subject = Subject { schema: &schema, block: 0, folded: true, positions: None };
    Picture::of(&subject, (columns.into(), ROWS), args.ascii, None).text()
}

/// A hook's shape with the names of its axes and without the number of positions.
fn shape(point: HookPoint, schema: &Schema) -> String {
    let size = |axis: &crate::hooks::Axis| match axis.is_position() {
        true => axis.name().to_string(),
        false if *axis == crate::hooks::Axis::One => "1".into(),
        false => format!("{} {axis}", schema.size(*axis, 0)),
    };
    format!("[{}]", schema.axes(point).iter().map(size).collect::<Vec<_>>().join(", "))
}

/// `opt-in` for a hook that is off by default, `derived` for one that is never computed.
fn note(point: HookPoint, schema: &Schema) -> &'static str {
    match point {
        point if schema.is_derived(point) => "derived",
        point if point.is_opt_in() => "opt-in",
        _ => "",
    }
}

fn hooks_json(config: &Config) -> Value {
    let schema = Schema::new(config.dims());
    let hook = |point: HookPoint| {
        let (module, role) = module_of(point);
        json!({
            "name": point.to_string(),
            "axes": schema.axes(point).iter().map(|axis| axis.name()).collect::<Vec<_>>(),
            "module": module,
            "role": role,
            "opt_in": point.is_opt_in(),
            "derived": note(point, &schema) == "derived",
        })
    };
    schema.all_points().into_iter().map(hook).collect()
}

fn modules_json(config: &Config) -> Value {
    let module = |module: Module| {
        let parameters: Vec<Value> =
            module.parameters.iter().map(|(name, shape)| json!({"name": name, "shape": shape})).collect();
        let hooks: Vec<Value> =
            module.hooks.iter().map(|point| json!({"name": point.to_string(), "role": module_of(*point).1})).collect();
        json!({"path": module.path, "class": module.class, "parameters": parameters, "hooks": hooks})
    };
    modules(config).into_iter().map(module).collect()
}

fn print_hooks(out: &mut impl Write, config: &Config) -> Result<()> {
    let schema = Schema::new(config.dims());
    let points = schema.all_points();
    let widest = points.iter().map(|p| p.to_string().len()).max().unwrap_or(0);
    let shapes = points.iter().map(|p| shape(*p, &schema).len()).max().unwrap_or(0);
    for point in points {
        let (module, role) = module_of(point);
        let (name, shape, note) = (point.to_string(), shape(point, &schema), note(point, &schema));
        writeln!(out, "{name:widest$}  {shape:shapes$}  {note:7}  {module} ({role})")?;
    }
    Ok(())
}
