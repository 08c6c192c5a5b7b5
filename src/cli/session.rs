//! What belongs to the model on the screen: its state, its threads, and the session that is kept.

use std::sync::mpsc::Sender;

use anyhow::{Context, Result};

use super::{
    args::ModelArgs,
    autosave::Autosave,
    checkpoints::CheckpointLoader,
    loaded_model::{LoadedModel, model_info},
    message::{Message, sending},
    prepare::Prepared,
};
use crate::{
    engine::{Engine, Other},
    explorer::{Event, Opening, State, TourFile},
    keys::Keymap,
    model::{Hub, Loaded, Source, modules, training_steps},
    paint::Theme,
    views::{Checkpoints, ModelInfo},
};

/// What does not change while the explorer runs.
pub(super) struct Setting {
    /// Sends to the loop.
    pub sender: Sender<Message>,
    pub theme: Theme,
    pub keys: Keymap,
    /// How models are loaded: device, precision, with or without the network. No model is named.
    pub model_args: ModelArgs,
    /// The tour that `T` starts while its model is explored.
    pub tour_file: TourFile,
}

/// Everything that belongs to the model on the screen, replaced as a whole when an experiment with another one is opened.
pub(super) struct Session {
    pub state: State,
    pub model: LoadedModel,
    pub checkpoints: CheckpointLoader,
    /// The number of the model that `checkpoints` was started for; moving between checkpoints does not change it.
    pub number: u64,
    pub autosave: Autosave,
}

impl Session {
    /// Show the model and the experiment; the terminal has `size` columns and rows.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(
        (prepared, against): (Prepared, Option<(String, Engine)>),
        number: u64,
        size: (u16, u16),
        setting: &Setting,
    ) -> Result<Self> {
        let Prepared { engine, setup, source, name, note, dictionaries: _ } = prepared;
        let Setting { sender, theme, keys, model_args, .. } = setting;
        let hub = Hub::from_env(model_args.offline);
        let steps = training_steps(&source, &hub.cache, &[]);
        let mut state = State::new(Opening {
            model: model_info(&engine.loaded, &source, name, note),
            schema: engine.schema.clone(),
            modules: modules(&engine.loaded.model.config),
            checkpoints: Checkpoints::new(steps, source.revision(), hub.offline),
            keys: keys.clone(),
            halves: theme.halves(),
            setup,
            size,
        });
        let report = sending(sender, move |report| Message::Report(number, report));
        let (name, other) = against.unzip();
        state.scene.against = name;
        let model = LoadedModel::start(number, source, (engine, other.map(Other::new)), report)?;
        let report = sending(sender, move |report| Message::Checkpoint(number, report));
        let checkpoints = CheckpointLoader::start(&model, model_args, state.scene.model.processing, report)
            .context("starting the checkpoint loader")?;
        let failed = sending(sender, |why: String| Event::NotKept(why).into());
        let autosave = Autosave::start(state.session(), failed);
        Ok(Self { state, model, checkpoints, number, autosave })
    }

    /// Save the session, unless it shows a cache: that can't be opened as an experiment.
    pub fn save(&mut self) {
        if !matches!(self.model.source, Source::Cache(_)) {
            self.autosave.save(self.state.session());
        }
    }

    /// Run another checkpoint of the same model with the same prompt and edits.
    ///
    /// # Errors
    /// It is of another model, or a thread can't be started.
    pub fn replace_checkpoint(
        &mut self,
        (source, loaded): (Source, Loaded),
        sender: &Sender<Message>,
    ) -> Result<ModelInfo, String> {
        if loaded.model.config != self.model.config {
            return Err(format!("{} is a different model: its config differs from this one's", loaded.name));
        }
        let name = match &source {
            Source::Directory(path) => path.display().to_string(),
            Source::Snapshot { .. } | Source::Demo | Source::Cache(_) => self.state.scene.model.source.clone(),
        };
        let info = model_info(&loaded, &source, name, None);
        let mut engine = Engine::new(loaded, self.state.scene.schema.clone());
        engine.lenses.clone_from(&self.model.lenses);
        engine.dictionaries.clone_from(&self.model.dictionaries);
        let number = self.model.number + 1;
        let report = sending(sender, move |report| Message::Report(number, report));
        let against = self.model.against.clone();
        self.model = LoadedModel::start(number, source, (engine, against), report).map_err(|e| format!("{e:#}"))?;
        Ok(info)
    }
}
