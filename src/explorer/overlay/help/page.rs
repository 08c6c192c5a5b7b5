use tui_input::Input;

/// The help's state: the first visible row, and the filter.
#[derive(Clone, Debug, Default)]
pub struct HelpPage {
    pub scroll: u16,
    pub filter: Input,
}
