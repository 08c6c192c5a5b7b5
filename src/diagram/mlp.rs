//! ln2 and the MLP: a column at the right of the stream, or two rows below attention.

use super::{flow::Item, pen::Pen, rows::Row as R, sheet::Role};
use crate::hooks::BlockHook as B;

impl Pen<'_> {
    pub(super) fn mlp(&mut self) {
        if self.plan.strip { self.mlp_below() } else { self.mlp_beside() }
    }

    /// What the MLP reads of the stream.
    fn mlp_reads(&self) -> B {
        if self.subject.schema.dims.parallel { B::ResidPre } else { B::ResidMid }
    }

    fn mlp_beside(&mut self) {
        let (x, bus, operations) = (self.plan.mlp, self.plan.bus, self.plan.operations);
        let y = |row| self.plan.y(row);
        let (top, middle, bottom) = (y(R::Ln2Top), y(R::MlpTop), y(R::MlpEnd));
        let (tap, mlp_in, scale, normalized) = (y(R::Tap), y(R::MlpIn), y(R::Ln2Scale), y(R::Ln2Normalized));
        let (pre, post, out) = (y(R::MlpPre), y(R::MlpPost), y(R::MlpOut));
        if operations {
            let (start, end) = (x - 4, self.plan.width - 1);
            self.sheet.frame((start, top), (end, middle), "ln2");
            self.sheet.frame((start, middle), (end, bottom), "mlp");
        }
        let from = self.mlp_reads();
        self.wire(&[(bus, tap), (x, tap), (x, mlp_in)], &[from], &[B::MlpIn]);
        self.wire(
            &[(x, mlp_in), (x, if operations { top } else { scale })],
            &[B::MlpIn],
            &[B::Ln2Scale, B::Ln2Normalized],
        );
        self.wire(&[(x, scale), (x, normalized)], &[B::Ln2Scale], &[B::Ln2Normalized]);
        self.wire(&[(x, if operations { middle } else { normalized }), (x, pre)], &[B::Ln2Normalized], &[B::MlpPre]);
        self.wire(&[(x, pre), (x, post)], &[B::MlpPre], &[B::MlpPost]);
        self.wire(&[(x, post), (x, out)], &[B::MlpPost], &[B::MlpOut]);
        self.add(x, R::MlpOut, B::MlpOut, B::ResidPost);
        self.operation(x, R::MlpPreOp, "W_in");
        self.operation(x, R::MlpPostOp, self.subject.schema.dims.activation.name);
        self.operation(x, R::MlpOutOp, "W_out");
        let room = self.plan.width - x - if operations { 4 } else { 2 };
        for (hook, y) in [
            (B::MlpIn, mlp_in),
            (B::Ln2Scale, scale),
            (B::Ln2Normalized, normalized),
            (B::MlpPre, pre),
            (B::MlpPost, post),
            (B::MlpOut, out),
        ] {
            let point = self.point(hook);
            self.hook((x, y), point, room);
        }
        if !operations {
            let point = self.point(B::Ln2Scale);
            let after = x + self.width(point, room) + 1;
            self.sheet.text(after, scale, "ln2", Role::Frame);
        }
    }

    fn mlp_below(&mut self) {
        let (bus, above, y) = (self.plan.bus, self.y(R::MlpIn), self.y(R::MlpOut));
        let (mlp_in, scale) = (self.point(B::MlpIn), self.point(B::Ln2Scale));
        let items = [
            Item::Hook(self.point(B::Ln2Normalized)),
            Item::Operation("W_in"),
            Item::Hook(self.point(B::MlpPre)),
            Item::Operation(self.subject.schema.dims.activation.name),
            Item::Hook(self.point(B::MlpPost)),
            Item::Operation("W_out"),
            Item::Hook(self.point(B::MlpOut)),
        ];
        let laid = self.flow(y, (1, bus - 2), &items, (&[], &[]));
        // up to the stream, and over the row again so that names stay on top
        let left = bus - 2 - self.width(mlp_in, 0);
        let first = laid.start + 1;
        self.wire(&[(bus, above), (left, above)], &[B::ResidMid], &[B::MlpIn]);
        self.wire(&[(left, above), (first, above)], &[B::MlpIn], &[B::Ln2Scale, B::Ln2Normalized]);
        self.wire(
            &[(first, above), (0, above), (0, y), (laid.start, y)],
            &[B::Ln2Scale, B::MlpIn],
            &[B::Ln2Normalized],
        );
        if let Some((x, _)) = laid.hooks.last() {
            let end = x + self.width(self.point(B::MlpOut), 0);
            self.add(end.min(laid.end), R::MlpOut, B::MlpOut, B::ResidPost);
        }
        self.hook((left, above), mlp_in, 0);
        self.hook((first, above), scale, left.saturating_sub(first + 12));
        // between the two: the module, and where this row leads
        let between = first + self.width(scale, left.saturating_sub(first + 12));
        let centre = between.midpoint(left);
        if left >= centre + 5 {
            let sign = self.sheet.signs.left;
            self.sheet.head(centre + 3, above, sign);
        }
        self.sheet.centred(centre, above, " ln2 ", Role::Frame);
    }
}
