#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorDepth { True, Ansi256, Ansi16, None }
