use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::StructureArgs;
use crate::{
    experiment::ModelChoice,
    hooks::{HookPoint, Schema},
    model::{Config, Module, module_of, modules},
    printed,
};

/// Print the module tree of TransformerLens or of Hugging Face, each with where the hooks lie in it.
pub(super) fn main(args: &StructureArgs) -> Result<()> {
    let config = ModelChoice::from(&args.model).config()?;
    let mut out = printed::stdout();
    match (args.hf, args.json) {
        (false, true) => writeln!(out, "{}", serde_json::to_string_pretty(&hooks_json(&config))?)?,
        (true, true) => writeln!(out, "{}", serde_json::to_string_pretty(&modules_json(&config))?)?,
        (false, false) => print_hooks(&mut out, &config)?,
        (true, false) => print_modules(&mut out, &modules(&config))?,
    }
    out.flush()?;
    Ok(())
}

/// A hook's shape with the names of its axes, positions unknown.
fn shape(point: HookPoint, schema: &Schema) -> String {
    let size = |axis: &crate::hooks::Axis| match axis.is_position() {
        true => axis.name().to_string(),
        false if *axis == crate::hooks::Axis::One => "1".into(),
        false => format!("{} {axis}", schema.size(*axis, 0)),
    };
    format!("[{}]", schema.axes(point).iter().map(size).collect::<Vec<_>>().join(", "))
}

/// Whether it is off by default, or never computed.
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

fn print_modules(out: &mut impl Write, modules: &[Module]) -> Result<()> {
    for module in modules {
        let indent = "  ".repeat(module.depth());
        let class = if module.path.is_empty() { String::new() } else { format!(": {}", module.class) };
        writeln!(out, "{indent}{}{class}", module.name())?;
        for (name, shape) in &module.parameters {
            writeln!(out, "{indent}  {name} {shape:?}")?;
        }
        for point in &module.hooks {
            writeln!(out, "{indent}  <- {point} ({})", module_of(*point).1)?;
        }
    }
    Ok(())
}
