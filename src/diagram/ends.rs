//! The residual stream, where it comes from and where it leads.

use super::{
    flow::Item,
    pen::Pen,
    rows::Row as R,
    sheet::{Role, Side},
};
use crate::hooks::{BlockHook as B, HookPoint};

const LEGEND: [(&str, Role); 3] = [("hook", Role::Hook), ("off", Role::Off), ("derived", Role::Derived)];

impl Pen<'_> {
    pub(super) fn stream_and_ends(&mut self) {
        let bus = self.plan.bus;
        let [pre, attn, mid, mlp, post] = [R::Pre, R::AttnOut, R::Mid, R::MlpOut, R::Post].map(|row| self.plan.y(row));
        self.entry(pre);
        self.stream(&[(bus, pre), (bus, attn)], &[B::ResidPre], &[B::ResidMid]);
        self.stream(&[(bus, attn), (bus, mid)], &[B::ResidPre, B::AttnOut], &[B::ResidMid]);
        self.stream(&[(bus, mid), (bus, mlp)], &[B::ResidMid], &[B::ResidPost]);
        self.stream(&[(bus, mlp), (bus, post)], &[B::ResidMid, B::MlpOut], &[B::ResidPost]);
        self.exit(post);
    }

    /// The marks on the stream, over the lines.
    pub(super) fn marks(&mut self) {
        let bus = self.plan.bus;
        for (hook, row) in [(B::ResidPre, R::Pre), (B::ResidMid, R::Mid), (B::ResidPost, R::Post)] {
            let (point, y) = (self.point(hook), self.y(row));
            // the MLP's wire passes on the right there, so the label is on the left
            match hook == B::ResidMid && self.subject.schema.dims.parallel {
                true => self.hook_at((bus, y), point, bus - 2, Side::Left),
                false => self.hook((bus, y), point, self.plan.width - bus - 2),
            }
        }
    }

    fn entry(&mut self, y: usize) {
        let bus = self.plan.bus;
        let resid_pre = self.point(B::ResidPre);
        if !self.subject.starts() {
            let before = HookPoint::Block(self.subject.block - 1, B::ResidPost);
            let text = format!("blocks.{} ", self.subject.block - 1);
            let start = bus.saturating_sub(text.len() + 6);
            self.sheet.text(start, y, &text, Role::Title);
            self.sheet.wire(&[(start + text.len(), y), (bus, y)], Role::Stream, &[before], &[resid_pre]);
            self.sheet.head(bus - 1, y, self.sheet.signs.right);
            return;
        }
        let items = [Item::Hook(HookPoint::Tokens), Item::Operation("W_E"), Item::Hook(HookPoint::Embed)];
        let start = self.plan.lanes[0];
        let laid = self.flow(y, (start, bus - 4), &items, (&[], &[resid_pre]));
        self.sheet.wire(&[(laid.end + 1, y), (bus, y)], Role::Stream, &[HookPoint::Embed], &[resid_pre]);
        self.sheet.head(bus - 1, y, self.sheet.signs.right);
    }

    fn exit(&mut self, above: usize) {
        let (bus, y) = (self.plan.bus, self.y(R::Exit));
        let resid_post = self.point(B::ResidPost);
        if !self.subject.ends() {
            let after = HookPoint::Block(self.subject.block + 1, B::ResidPre);
            self.sheet.wire(&[(bus, above), (bus, y)], Role::Stream, &[resid_post], &[after]);
            self.sheet.head(bus, y, self.sheet.signs.down);
            self.sheet.text(bus + 2, y, &format!("blocks.{}", self.subject.block + 1), Role::Title);
            return;
        }
        let items = [
            Item::Operation("ln_final"),
            Item::Hook(HookPoint::LnFinalScale),
            Item::Hook(HookPoint::LnFinalNormalized),
            Item::Operation("W_U"),
            Item::Operation("logits"),
        ];
        let hooks: usize = HookPoint::AFTER.map(|point| self.width(point, usize::MAX)).iter().sum();
        // far enough to the left that the row runs from left to right
        let corner = (self.plan.width.saturating_sub(hooks + 36)).min(bus - 4);
        let reads = HookPoint::AFTER;
        let laid = self.flow(y, (corner + 2, self.plan.width), &items, (&[resid_post], &[]));
        self.sheet.head(laid.end - "logits".len() - if laid.gap < 3 { 1 } else { 2 }, y, self.sheet.signs.right);
        self.sheet.wire(
            &[(bus, above), (corner, above), (corner, y), (laid.start - 1, y)],
            Role::Stream,
            &[resid_post],
            &reads,
        );
    }

    /// The title and the legend of the marks, as far as there is room.
    pub(super) fn header(&mut self) {
        if !self.plan.header {
            return;
        }
        let legend: usize = LEGEND.iter().map(|(name, _)| name.len() + 4).sum::<usize>() - 2;
        let mut x = self.plan.width.saturating_sub(legend);
        let title = self.subject.title(self.sheet.ascii);
        let short = title.split(':').next().unwrap_or_default();
        let length = |title: &str| title.chars().count();
        // the legend matters more than the words after the colon
        let fits_beside = [title.as_str(), short].into_iter().find(|title| length(title) + 2 <= x);
        let fits = [title.as_str(), short].into_iter().find(|title| length(title) <= self.plan.width);
        self.sheet.text(0, 0, fits_beside.or(fits).unwrap_or(short), Role::Title);
        if fits_beside.is_none() {
            return;
        }
        let signs = self.sheet.signs;
        for ((name, role), sign) in LEGEND.into_iter().zip([signs.hook, signs.off, signs.derived]) {
            self.sheet.text(x, 0, &format!("{sign} {name}"), role);
            x += name.len() + 4;
        }
    }
}
