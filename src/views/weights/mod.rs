//! Weights: what a head's circuits, a neuron, and pairs of heads do, by their weights alone.

mod ask;
mod draw;
mod state;
mod table;

use ratatui::{Frame, layout::Rect};

use crate::{
    analysis::exact_number,
    engine::Request,
    hooks::{Axis, BlockHook, Edit, HookPoint, Op},
    keys::{Action, Motion},
    paint::{Hit, Region, Theme},
    views::{
        About, Destination, Room, Scene, Table, View, ViewGroup,
        attention::{ablated_head, select_block},
        cycle, moved, sideways, stepped,
    },
};

pub use ask::{Directions, OfCircuit, OfComposition, OfNeuron, Sides};
pub use state::{Weights, What};

use state::{KINDS, name_of_head};

impl View for Weights {
    fn about(&self) -> About {
        About {
            title: "Weights",
            name: "weights",
            doc: "Weights: a head's OV and QK circuits, a neuron's tokens, and how heads compose, without a run",
            group: ViewGroup::Heads,
            key: Some('Q'),
            beside: "attention",
        }
    }

    fn request(&self, scene: &Scene, _room: Room) -> Option<Request> {
        Some(self.asks(scene))
    }

    fn draw(&self, frame: &mut Frame<'_>, area: Rect, scene: &Scene, hits: &mut Vec<Region>, theme: Theme) {
        draw::draw(frame, area, self, scene, hits, theme);
    }

    fn subject(&self, scene: &Scene) -> Option<String> {
        let (block, head) = Self::head(scene);
        Some(match self.what {
            What::Ov => format!("OV circuit of L{block}H{head}"),
            What::Qk => format!("QK circuit of L{block}H{head}, {} apart", self.distance),
            What::Neuron => format!("neuron {} of block {block}", Self::neuron(scene)),
            What::Composition => "composition of heads".into(),
        })
    }

    fn describe(&self, scene: &Scene, (row, column): Hit) -> Option<String> {
        match self.what {
            What::Ov | What::Qk => {
                let found = self.directions(scene)?.ok()?;
                if self.by_distance && self.what == What::Qk {
                    let at = found.distances.get(row)?;
                    return Some(format!("distance {}: norm {}, biases {}", at.distance, at.norm, at.bias));
                }
                let (value, ..) = found.directions.get(row)?;
                Some(format!("singular value {row}: {value}"))
            }
            What::Neuron => None,
            What::Composition => {
                let n_heads = scene.schema.dims.n_heads;
                let score = self.score(scene, row, column)?;
                let (from, to) = (name_of_head(row, n_heads), name_of_head(column, n_heads));
                Some(format!("{from} into {to}: {}", exact_number(score)))
            }
        }
    }

    fn table(&self, scene: &Scene) -> Option<Table> {
        table::table(self, scene)
    }

    fn table_name(&self, scene: &Scene) -> String {
        let (block, head) = Self::head(scene);
        match self.what {
            What::Ov => format!("ov-L{block}H{head}"),
            What::Qk => format!("qk-L{block}H{head}"),
            What::Neuron => format!("neuron-{block}.{}", Self::neuron(scene)),
            What::Composition => format!("composition-{}", ["q", "k", "v"][self.kind]),
        }
    }

    fn hints(&self, _scene: &Scene) -> Vec<(Action, &'static str)> {
        let mut hints = vec![(Action::Switch, "OV, QK, neuron or composition")];
        hints.extend(match self.what {
            What::Ov => vec![(Action::NextHead, "next head"), (Action::Ablate, "ablate it")],
            What::Qk => vec![
                (Action::ChangeLayout, if self.by_distance { "directions" } else { "by distance" }),
                (Action::NextHead, "next head"),
            ],
            What::Neuron => vec![(Action::NextBlock, "next block"), (Action::Ablate, "ablate it")],
            What::Composition => vec![
                (Action::ChangeLayout, "queries, keys or values"),
                (Action::Move(Motion::Enter), "what the later head reads and writes"),
            ],
        });
        hints
    }

    fn navigate(&mut self, scene: &mut Scene, motion: Motion) -> Option<Destination> {
        let dims = scene.schema.dims;
        match self.what {
            What::Ov | What::Qk => {
                if let Some(by) = sideways(motion) {
                    scene.cursor.head = stepped(scene.cursor.head, by, dims.n_heads);
                } else if motion == Motion::Enter {
                    if self.what == What::Qk {
                        self.change_layout(scene);
                    }
                } else {
                    let (rows, page) = (self.rows(scene), scene.layout.page());
                    let at = if self.lists_distances() { &mut self.distance } else { &mut self.direction };
                    *at = moved(*at, motion, page, rows);
                }
            }
            What::Neuron => {
                let motion = match sideways(motion) {
                    Some(by) if by < 0 => Motion::Up,
                    Some(_) => Motion::Down,
                    None => motion,
                };
                let to = moved(Self::neuron(scene), motion, scene.layout.page(), dims.d_mlp);
                scene.cursor.set_index(Axis::DMlp, to);
            }
            What::Composition => {
                let n = dims.n_layers * dims.n_heads;
                if let Some(by) = sideways(motion) {
                    Self::receive(scene, stepped(Self::receiver(scene), by, n));
                } else if motion == Motion::Enter {
                    self.what = What::Ov;
                } else {
                    self.sender = moved(self.sender, motion, scene.layout.page(), n);
                }
            }
        }
        None
    }

    fn cursor(&self, scene: &Scene) -> Option<Hit> {
        match self.what {
            What::Ov | What::Qk => Some((if self.lists_distances() { self.distance } else { self.direction }, 0)),
            What::Neuron => None,
            What::Composition => Some((self.sender, Self::receiver(scene))),
        }
    }

    fn click(&mut self, scene: &mut Scene, (row, column): Hit) {
        match self.what {
            What::Ov | What::Qk if self.lists_distances() => self.distance = row,
            What::Ov | What::Qk => self.direction = row,
            What::Neuron => {}
            What::Composition => {
                self.sender = row;
                Self::receive(scene, column);
            }
        }
    }

    /// Edits change no weights.
    fn compares(&self, scene: &Scene) -> bool {
        scene.against.is_some()
    }

    fn switch(&mut self, _scene: &mut Scene) {
        self.what = cycle(&What::ALL, self.what, 1);
    }

    fn change_layout(&mut self, scene: &mut Scene) {
        match self.what {
            What::Qk => self.by_distance = !self.by_distance,
            What::Composition => self.kind = (self.kind + 1) % KINDS.len(),
            What::Ov | What::Neuron => scene.say("this has only one layout"),
        }
    }

    fn ablation(&self, scene: &Scene, _focused: bool) -> Option<Edit> {
        let (block, head) = Self::head(scene);
        match self.what {
            What::Ov | What::Qk | What::Composition => Some(ablated_head(block, head)),
            What::Neuron => {
                let places = [(Axis::DMlp, Self::neuron(scene))];
                Some(Edit::at(HookPoint::Block(block, BlockHook::MlpPost), &places, Op::Set(0.0)))
            }
        }
    }

    fn value(&self, scene: &Scene) -> Option<String> {
        match self.what {
            What::Ov | What::Qk => {
                let found = self.directions(scene)?.ok()?;
                if self.lists_distances() {
                    return found.distances.get(self.distance).map(|at| at.norm.to_string());
                }
                found.directions.get(self.direction).map(|(value, ..)| value.to_string())
            }
            What::Neuron => {
                let found = Self::tokens(scene)?.ok()?;
                found.promoted.first().map(|(text, _)| text.clone())
            }
            What::Composition => self.score(scene, self.sender, Self::receiver(scene)).map(exact_number),
        }
    }

    fn settle(&mut self, scene: &Scene) {
        let dims = scene.schema.dims;
        self.sender = self.sender.min((dims.n_layers * dims.n_heads).saturating_sub(1));
        self.distance = self.distance.min(scene.model.config.context.saturating_sub(1));
        if let (false, Some(Ok(found))) = (self.lists_distances(), self.directions(scene)) {
            self.direction = self.direction.min(found.directions.len().saturating_sub(1));
        }
    }
}

impl Weights {
    fn lists_distances(&self) -> bool {
        self.what == What::Qk && self.by_distance
    }

    /// Go to the head that receives, counted through the layers.
    fn receive(scene: &mut Scene, number: usize) {
        let n_heads = scene.schema.dims.n_heads.max(1);
        select_block(scene, number / n_heads);
        scene.cursor.head = number % n_heads;
    }

    /// How much a head composes with another, both counted through the layers.
    fn score(&self, scene: &Scene, from: usize, to: usize) -> Option<f32> {
        let n = scene.schema.dims.n_layers * scene.schema.dims.n_heads;
        self.scores(scene)?.ok()?.get(from * n + to).copied()
    }
}
