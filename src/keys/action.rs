//! What keys can do.

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Move in the focused panel.
    Move(Motion),
    NextHook,
    PreviousHook,
    NextBlock,
    PreviousBlock,
    NextHead,
    PreviousHead,
    NextCheckpoint,
    VisitCheckpoints,
    PreviousCheckpoint,
    ModuleTree,
    /// Hold the pass at the selected hook.
    Hold,
    Continue,
    Step,
    StepOver,
    StepOut,
    StepBack,
    Breakpoint,
    Watch,
    /// The list of breakpoints and watches.
    Stops,
    /// Search the run on the screen.
    Grep,
    /// Set the value under the cursor.
    SetValue,
    Enable,
    PickView,
    NextTab,
    PreviousTab,
    /// Show the view of this number.
    View(usize),
    NextFocus,
    PreviousFocus,
    Maximise,
    Narrower,
    Wider,
    Switch,
    ChangeLayout,
    Compare,
    /// Show values, gradients, or their products.
    Gradient,
    Extreme,
    SortColumns,
    Target,
    Distractor,
    Append,
    TakeBack,
    Ablate,
    AblationScope,
    NewEdit,
    ChangeEdit,
    NewVector,
    More,
    Less,
    EditUp,
    EditDown,
    Rerun,
    Undo,
    Redo,
    ToggleEdit,
    DeleteEdit,
    Prompt,
    Contrast,
    Find,
    /// Return to the place before the last jump, or forward again.
    Back,
    Forward,
    NextMatch,
    PreviousMatch,
    FindToken,
    Copy,
    CopyTable,
    Save,
    Write,
    Export,
    Open,
    Command,
    Help,
    /// Start the tour, or go to its next step.
    Tour,
    /// Go to the previous step.
    TourBack,
    /// Presenter mode: only the view, with one explaining line.
    Present,
    Escape,
    Redraw,
    Suspend,
    Quit,
}

/// A step of the cursor in the focused panel, or Enter on what is under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
}
