//! A file that holds a tour, and the tour inside the program.

use std::path::{Path, PathBuf};

use super::{
    format::{StepText, TourText},
    steps::{Press, Step, Tour},
};
use crate::{
    experiment::{ExperimentError, File, Given, PromptParser, placed},
    explorer::saved_view::{SavedView, Setup},
    fs::read_toml,
    keys::Key,
};

/// The tour through the demo's forward pass.
const GUIDED: &str = include_str!("../../../assets/tour.toml");

/// A tour with its text, so that errors can state their position.
pub struct TourFile {
    path: PathBuf,
    text: String,
    tour: TourText,
}

impl TourFile {
    /// The tour inside the program.
    ///
    /// # Errors
    /// None: a test covers it.
    pub fn guided() -> Result<Self, ExperimentError> {
        Self::parse(Path::new("the guided tour"), GUIDED.into())
    }

    /// # Errors
    /// It can't be read, or is not a tour.
    pub fn read(path: &Path) -> Result<Self, ExperimentError> {
        let text = read_toml(path).map_err(|reason| ExperimentError::Read { path: path.to_path_buf(), reason })?;
        Self::parse(path, text)
    }

    /// # Errors
    /// The text is not a tour; `path` is its origin, for the message.
    pub fn parse(path: &Path, text: String) -> Result<Self, ExperimentError> {
        let tour = TourText::parse(&text).map_err(|wrong| placed(path, &text, wrong))?;
        Ok(Self { path: path.to_path_buf(), text, tour })
    }

    /// The experiment before the first step: model and prompt, no edits.
    #[must_use]
    pub fn head(&self) -> File<SavedView> {
        File::part(&self.path, &self.text, self.tour.head())
    }

    /// Resolve the tour against a model. Arguments override what the file says for every step; a step's own prompts
    /// stay.
    ///
    /// # Errors
    /// No steps; a key, prompt, token, hook, edit or view that does not exist.
    pub fn tour(&self, parser: PromptParser<'_>, given: &Given) -> Result<Tour, ExperimentError> {
        let mut steps = vec![];
        for (text, experiment) in self.tour.step.iter().zip(self.tour.experiments()) {
            let file = File::part(&self.path, &self.text, experiment);
            let press = press(text, &file)?;
            let setup = Setup::new(parser, &given_for(text, given), Some(&file))?;
            let (title, say, formula) = (&text.title, &text.say, text.formula.as_deref());
            steps.push(Step {
                title: one_line(title),
                say: one_line(say),
                formula: formula.map(one_line),
                press,
                setup,
            });
        }
        if steps.is_empty() {
            return Err(self.head().wrong(0..0, "a tour needs steps: expected [[step]] with a title and `say`"));
        }
        Ok(Tour::new(one_line(&self.tour.title), steps))
    }
}

/// The arguments for a step.
fn given_for(step: &StepText, given: &Given) -> Given {
    let mut given = given.clone();
    if step.has_prompt() {
        (given.prompt, given.tokens) = (None, None);
    }
    if step.has_contrast() {
        (given.contrast, given.contrast_tokens) = (None, None);
    }
    given
}

/// The keys of a step, and what they are for.
fn press(step: &StepText, file: &File<SavedView>) -> Result<Option<Press>, ExperimentError> {
    let (text, to) = match (&step.press, &step.to) {
        (Some(press), Some(to)) => (press, to),
        (None, None) => return Ok(None),
        (Some(press), None) => return Err(file.wrong(press.span(), "expected `to`: what the keys are for")),
        (None, Some(to)) => return Err(file.wrong(to.span(), "expected `press`: the keys to press")),
    };
    let keys: Result<Vec<Key>, String> = text.get_ref().split_whitespace().map(str::parse).collect();
    let keys = keys.map_err(|reason| file.wrong(text.span(), reason))?;
    if keys.is_empty() {
        return Err(file.wrong(text.span(), "expected keys, separated by spaces, such as \"a\" or \"Tab Space\""));
    }
    Ok(Some(Press { keys, to: one_line(to.get_ref()) }))
}

/// A text with spaces instead of line breaks: the screen breaks it where needed.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Placement, Processing, Source};

    /// The error of a tour of the demo with this first step.
    fn wrong(step: &str) -> (usize, usize, String) {
        let text = format!("version = 1\ntitle = 'T'\nmodel = 'demo'\nprompt = 'Two tokens'\n{step}\n");
        let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
        let file = TourFile::parse(Path::new("t.toml"), text);
        let tour = file.and_then(|file| file.tour(PromptParser::from(&loaded), &Given::default()));
        match tour.unwrap_err() {
            ExperimentError::File { line, column, reason, .. } => (line, column, reason),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn errors_state_line_and_column() {
        let step = "[[step]]\ntitle = 'A'\nsay = 'B'\n";
        for (rest, line, column, expected) in [
            ("pres = 'a'", 8, 1, "unknown field `pres`"),
            ("press = 'Hyper-a'\nto = 'C'", 8, 9, "is not a key"),
            ("press = 'a'", 8, 9, "expected `to`"),
            ("press = ' '\nto = 'C'", 8, 9, "expected keys"),
            ("to = 'C'", 8, 6, "expected `press`"),
            ("[[step.edit]]\nline = 'blocks.0.attn.hook_zz = 0'", 9, 18, "did you mean"),
            ("[[step.edit]]\nline = 'blocks.7.hook_mlp_out = 0'", 9, 8, "blocks"),
            ("[step.view]\ntab = 'atention'\nhook = 'hook_embed'", 9, 7, "attention"),
            ("[step.view]\ntab = 'lens'\nhook = 'hook_embed'\nposition = 2", 8, 1, "position 2 is out of range"),
        ] {
            let (at, from, reason) = wrong(&format!("{step}{rest}"));
            assert!((at, from) == (line, column) && reason.contains(expected), "{rest}: {at}, {from}: {reason}");
        }
        assert!(wrong("").2.contains("[[step]]"));
        assert_eq!(wrong("[[step]]\ntitle = 'A'").0, 5);
        assert!(wrong("contrast = 3").2.contains("string"));
    }

    #[test]
    fn arguments_override_the_tours_prompt_but_not_a_steps() {
        let text = "version = 1\ntitle = 'T'\nmodel = 'demo'\nprompt = 'Two tokens'\ncontrast = 'One token'\n\
            [[step]]\ntitle = 'A'\nsay = \"\"\"\none\n  two\"\"\"\n[step.view]\ntab = 'lens'\nhook = 'hook_embed'\nposition = 1\n\
            [[step]]\ntitle = 'B'\nsay = 'b'\nprompt = 'Mary and John'\ncontrast = ''\n";
        let loaded = Source::Demo.load(Processing::Folded, Placement::cpu()).unwrap();
        let file = TourFile::parse(Path::new("t.toml"), text.into()).unwrap();
        let given = Given { prompt: Some("John".into()), ..Given::default() };
        let tour = file.tour(PromptParser::from(&loaded), &given).unwrap();
        let [a, b] = tour.steps() else { panic!("{tour:?}") };
        assert_eq!((a.setup.prompt.0.as_str(), b.setup.prompt.0.as_str()), ("John", "Mary and John"));
        assert!(a.setup.contrast.is_some() && b.setup.contrast.is_none());
        assert_eq!(a.say, "one two");
        // a view is kept until the next one
        assert_eq!(a.setup.view, b.setup.view);
    }
}
