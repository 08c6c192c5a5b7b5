//! Turning opt-in hooks on and off. Only the schema knows which are on; each run gets a copy.

use crate::views::Scene;

/// Turn an opt-in hook on by its name, in every block or in one.
pub(super) fn enable(scene: &mut Scene, name: &str) {
    let before = scene.schema.clone();
    match scene.schema.enable(name) {
        Ok(()) if scene.schema != before => changed(scene, format!("{name} is on")),
        Ok(()) => scene.say(format!("{name} is already on")),
        Err(error) => scene.refuse(error.to_string()),
    }
}

/// Turn the selected opt-in hook on or off; edits that need it are switched off with it.
pub(super) fn toggle(scene: &mut Scene) {
    let point = scene.point();
    if !point.is_opt_in() {
        return scene.refuse(format!("{point} is always computed; only opt-in hooks are turned on and off"));
    }
    let mut enabled = scene.schema.enabled().clone();
    let on = enabled.insert(point);
    if !on {
        enabled.remove(&point);
    }
    scene.schema.set_enabled(enabled);
    changed(scene, format!("{point} is {}", if on { "on" } else { "off" }));
}

/// Switch off the edits that no longer resolve.
fn changed(scene: &mut Scene, said: String) {
    let off = scene.drop_unfit_edits();
    let also = if off > 0 { format!("; {off} of the edits no longer apply and were disabled") } else { String::new() };
    scene.say(said + &also);
}
