//! Starts the explorer: settings, model, terminal, threads; then runs its event loop.

use std::{
    io::IsTerminal,
    sync::{Arc, mpsc},
};

use anyhow::{Context, Result};

use super::{
    Usage,
    args::{Background, Color, ExploreArgs, Graphics, ModelArgs},
    autosave,
    config::Config,
    event_loop::EventLoop,
    open_experiment::{self, requested_tour, tour_of},
    prepare,
    progress::Bar,
    session::Setting,
};
use crate::{
    experiment::{Results, cached},
    explorer::{State, TourFile},
    paint::Theme,
    term::{self, Screen},
};

pub(super) fn main(args: &ExploreArgs) -> Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let message = "the explorer needs a terminal; without one, use `pythia-tui run` or `pythia-tui hooks`";
        return Err(Usage(message.into()).into());
    }
    let config = Config::find(args.config.as_deref()).map_err(|e| Usage(e.to_string()))?;
    let theme = Theme {
        depth: args.color.or(config.color).unwrap_or(Color::Auto).depth(),
        ascii: args.ascii || config.ascii,
        light: args.background.or(config.background).unwrap_or(Background::Auto).is_light(),
        pixels: None,
    };
    let graphics = args.graphics.or(config.graphics).unwrap_or(Graphics::Auto);
    let tour_file = args.tour.clone().flatten().map_or_else(TourFile::guided, |path| TourFile::read(&path))?;
    let requested = args.tour.is_some().then_some(&tour_file);
    let mut on_progress = Bar::on_stdout().into_callback();
    let given = prepare::given(&args.prompt, &args.edits);
    let mut prepared = match &args.cache {
        Some(path) => cached(path, &(&args.model).into(), &given, &mut on_progress)?,
        None => {
            open_experiment::prepare(&args.model, &args.prompt, &args.edits, requested, &mut on_progress, &|| true)?
        }
    };
    let tokenizer = &prepared.engine.loaded.tokenizer;
    let results = args.grid.as_deref().map(|path| Results::read(path, &|ids| tokenizer.decode(ids)));
    let results = results.transpose()?.map(Arc::new);
    let (lenses, notes) = prepare::lenses(&args.lens, &prepared, args.model.offline, &mut on_progress)?;
    prepared.engine.lenses.extend(lenses);
    prepared.engine.loaded.notes.extend(notes);
    let against = prepare::against(args.against.as_deref(), &args.model, &prepared.engine, &mut on_progress)?;
    // experiments that are opened later name their own model
    let model_args = ModelArgs { model: None, revision: None, no_processing: false, ..args.model.clone() };
    let tour = match requested {
        Some(_) => Some(requested_tour(&tour_file, args, &prepared)?),
        None => tour_of(&tour_file, &model_args, &prepared),
    };
    let starts_tour = requested.is_some();
    let starts_empty = args.edits.experiment.is_none() && !starts_tour && args.cache.is_none();
    let last_session = if starts_empty { autosave::last_session() } else { None };
    let is_first_start = args.cache.is_none() && autosave::is_first_start();

    let (sender, messages) = mpsc::channel();
    // before the terminal is taken, so that every later signal restores it
    term::listen(&sender, autosave::wait_until_written).context("listening to the terminal")?;
    let mut screen = Screen::take().context("taking the terminal")?;
    // without colours there is nothing to draw in pixels
    let protocols = if theme.halves() { graphics.protocols() } else { &[] };
    screen.ask(protocols).context("asking the terminal")?;
    let greet = |state: &mut State| {
        state.offer(last_session);
        state.have_tour(tour);
        if let Some(results) = results {
            state.show_results(results);
        }
        if starts_tour {
            state.start_tour();
        } else if is_first_start {
            state.welcome();
        }
    };
    let setting = Setting { sender, theme, keys: config.keys, model_args, tour_file };
    let mut explorer = EventLoop::start(screen, (prepared, against), greet, setting, messages)?;
    explorer.run();
    explorer.end();
    Ok(())
}
