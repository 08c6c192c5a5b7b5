//! The views of the explorer, one folder each.
//!
//! A new view is a folder with a type that implements [`View`], and one line in the list below.

use std::{fmt, str::FromStr};

use crate::{
    keys::{Keymap, ViewKey},
    suggest,
};

mod motion;
mod scene;
mod scope;
mod table;
mod view;

pub use attention::HeadScope;
pub use scene::{
    Areas, Breakpoint, Checkpoints, Cursor, EditList, Entry, Focus, Holding, Layout, Message, ModelInfo, Node, Noted,
    Panels, Phase, Prompts, Runs, Scene, Seen, Setting, Shown, Stops, Tree, Trees, hook_name, inside,
};
pub use scope::AblationScope;
pub use table::Table;
pub use view::{About, Destination, Room, View, ViewGroup};

pub(crate) use motion::{cycle, moved, sideways, stepped};
pub(crate) use scene::Tour;
pub(crate) use scope::ablated;
pub(crate) use table::plain;
pub use training::Quantity;

/// Declares the views in the order of their tabs: the module, and the type in it that implements [`View`].
macro_rules! views {
    ($($module:ident::$view:ident,)*) => {
        $(pub mod $module;)*

        /// A view, by its tab.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Tab {
            $($view,)*
        }

        impl Tab {
            pub const ALL: &[Self] = &[$(Self::$view,)*];
        }

        /// Every view with its own settings and cursor, which stay while another view is shown.
        #[derive(Clone, Debug, Default)]
        pub struct Views {
            $(pub $module: $module::$view,)*
        }

        impl Views {
            #[must_use]
            pub fn get(&self, tab: Tab) -> &dyn View {
                match tab {
                    $(Tab::$view => &self.$module,)*
                }
            }

            pub fn get_mut(&mut self, tab: Tab) -> &mut dyn View {
                match tab {
                    $(Tab::$view => &mut self.$module,)*
                }
            }
        }
    };
}

views! {
    diagram::Diagram,
    shape::Shape,
    values::Values,
    attention::Attention,
    logits::Logits,
    continuation::Continue,
    lens::Lens,
    features::Features,
    attribution::Attribution,
    heads::Heads,
    weights::Weights,
    sweep::Sweep,
    dose::Doses,
    circuit::Circuit,
    why::Why,
    training::Training,
    corpus::Corpus,
}

impl Tab {
    #[must_use]
    pub fn title(self) -> &'static str {
        Views::default().get(self).about().title
    }

    fn name(self) -> &'static str {
        Views::default().get(self).about().name
    }
}

/// Its name in commands and files.
impl fmt::Display for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tab {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        suggest::by_name("view", name, Self::ALL, Self::name)
    }
}

/// The default keys, including those of the views.
#[must_use]
pub fn keymap() -> Keymap {
    let views = Views::default();
    Keymap::new(Tab::ALL.iter().map(|tab| {
        let About { name, doc, key, title: _, group: _, beside: _ } = views.get(*tab).about();
        ViewKey { name, doc, key }
    }))
}
