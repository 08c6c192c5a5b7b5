//! ln1 and attention, to the left of the stream.

use super::{pen::Pen, rows::Row as R, sheet::Role};
use crate::hooks::BlockHook as B;

const INPUTS: [B; 3] = [B::QInput, B::KInput, B::VInput];
const VECTORS: [B; 3] = [B::Q, B::K, B::V];

impl Pen<'_> {
    pub(super) fn attention(&mut self) {
        if self.plan.operations {
            let (end, y) = (self.plan.attn_end, |row| self.plan.y(row));
            let (top, middle, bottom) = (y(R::Ln1Top), y(R::AttnTop), y(R::AttnEnd));
            self.sheet.frame((0, top), (end, middle), "ln1");
            self.sheet.frame((0, middle), (end, bottom), "attn");
        }
        self.inputs();
        self.ln1();
        self.vectors();
        self.pattern();
        self.output();
    }

    /// From the stream to the inputs of queries, keys and values.
    fn inputs(&mut self) {
        let (bus, lanes, trunk, y) = (self.plan.bus, self.plan.lanes, self.y(R::Trunk), self.y(R::Inputs));
        let attn_in = self.point(B::AttnIn);
        let room = bus - lanes[2] - 5;
        let x = lanes[2] + 2 + (room + 1).saturating_sub(self.width(attn_in, room - 1)) / 2;
        let split = self.subject.schema.is_split(self.subject.block);
        self.wire(&[(bus, trunk), (x, trunk)], &[B::ResidPre], &[B::AttnIn]);
        for (lane, input) in lanes.into_iter().zip(INPUTS) {
            let from = if split { B::ResidPre } else { B::AttnIn };
            self.wire(&[(x, trunk), (lane, trunk), (lane, y)], &[from], &[input]);
        }
        self.hook((x, trunk), attn_in, room - 1);
        // where ln1 begins and ends
        let (above, below) = match self.plan.operations {
            true => (self.y(R::Ln1Top), self.y(R::AttnTop)),
            false => (self.y(R::Ln1Scale) - 1, self.y(R::Ln1Scale) + 1),
        };
        let vectors = self.y(R::Qkv);
        for ((lane, input), vector) in lanes.into_iter().zip(INPUTS).zip(VECTORS) {
            self.wire(&[(lane, y), (lane, above)], &[input], &[vector]);
            self.wire(&[(lane, below), (lane, vectors)], &[input, B::Ln1Normalized], &[vector]);
            let point = self.point(input);
            self.hook((lane, y), point, self.room_at(lane));
        }
    }

    fn lane_room(&self) -> usize {
        self.plan.spacing - 3
    }

    /// The room for a label, which has to end before the next lane and the frame.
    fn room_at(&self, lane: usize) -> usize {
        let before_frame = if self.plan.operations { self.plan.attn_end - lane - 3 } else { usize::MAX };
        self.lane_room().min(before_frame)
    }

    fn ln1(&mut self) {
        let ([q, k, v], end) = (self.plan.lanes, self.plan.attn_end);
        let (above, y) = (self.y(R::Ln1Scale), self.y(R::Ln1Normalized));
        let (scale, normalized) = (self.point(B::Ln1Scale), self.point(B::Ln1Normalized));
        // the positions of the two hooks, and their room
        let (from, from_room, to, to_room) = match (self.plan.operations, above == y) {
            (true, false) => (q, end - q - 3, q, end - q - 3),
            (true, true) => (q, self.lane_room(), k, end - k - 3),
            (false, _) => {
                // a bracket across the lanes replaces the frame
                const START: &str = "[ ln1 ";
                let end = v + self.lane_room() + 1;
                self.sheet.text(0, y, START, Role::Frame);
                self.sheet.text(end, y, "]", Role::Frame);
                let to = START.len() + self.width(scale, self.lane_room()) + 3;
                (START.len(), self.lane_room(), to, end.saturating_sub(to + 3))
            }
        };
        self.wire(&[(from, above), (to, above), (to, y)], &[B::Ln1Scale], &[B::Ln1Normalized]);
        self.hook((from, above), scale, from_room);
        self.hook((to, y), normalized, to_room);
    }

    /// Queries, keys and values, and the rotation.
    fn vectors(&mut self) {
        let (lanes, y, rot) = (self.plan.lanes, self.y(R::Qkv), self.y(R::Rot));
        for (lane, rotated, vector) in [(lanes[0], B::RotQ, B::Q), (lanes[1], B::RotK, B::K)] {
            self.wire(&[(lane, y), (lane, rot)], &[vector], &[rotated]);
            self.operation(lane, R::RotOp, "RoPE");
            let point = self.point(rotated);
            self.hook((lane, rot), point, self.lane_room());
        }
        for ((lane, vector), name) in lanes.into_iter().zip(VECTORS).zip(["W_Q", "W_K", "W_V"]) {
            self.operation(lane, R::QkvOp, name);
            let point = self.point(vector);
            self.hook((lane, y), point, self.room_at(lane));
        }
    }

    /// The column of scores and pattern, and that of z.
    fn columns(&self) -> (usize, usize) {
        let [q, k, v] = self.plan.lanes;
        if self.plan.operations {
            let scores = q.midpoint(k);
            return (scores, scores.midpoint(v));
        }
        let scores = q + 2;
        let width = |hook| self.width(self.point(hook), 0);
        // z turns towards the stream in one row
        let latest = self.plan.bus.saturating_sub(width(B::Result) + width(B::AttnOut) + 9);
        (scores, (scores + 5).max(q.midpoint(k)).min(latest).max(scores + 2))
    }

    fn pattern(&mut self) {
        let ([q, k, v], (x, z)) = (self.plan.lanes, self.columns());
        let joined = if self.plan.operations { R::ScoresOp } else { R::Scores };
        let mixed = if self.plan.operations { R::ZOp } else { R::Z };
        let (rot, join, scores) = (self.y(R::Rot), self.y(joined), self.y(R::Scores));
        let (pattern, mix, below) = (self.y(R::Pattern), self.y(mixed), self.y(R::Z));
        self.wire(&[(q, rot), (q, join), (x, join), (x, scores)], &[B::RotQ], &[B::AttnScores]);
        self.wire(&[(k, rot), (k, join), (x, join), (x, scores)], &[B::RotK], &[B::AttnScores]);
        self.wire(&[(x, scores), (x, pattern)], &[B::AttnScores], &[B::Pattern]);
        self.wire(&[(x, pattern), (x, mix), (z, mix), (z, below)], &[B::Pattern], &[B::Z]);
        self.wire(&[(v, self.y(R::Qkv)), (v, mix), (z, mix), (z, below)], &[B::V], &[B::Z]);
        let masked = self.either("q·kᵀ/√d, mask", "q.k^T/sqrt d, mask").to_string();
        let short = self.either("q·kᵀ/√d", "q.k^T/sd").to_string();
        let text = if masked.chars().count() + 6 <= self.plan.spacing { masked } else { short };
        self.operation_across(x, R::ScoresOp, &text);
        self.operation(x, R::PatternOp, "softmax");
        let text = self.either("pattern·v", "pattern.v").to_string();
        self.operation_across(z, R::ZOp, &text);
        let room = if self.plan.operations { v - x - 4 } else { k - x - 3 };
        for (hook, y, room) in [(B::AttnScores, scores, room), (B::Pattern, pattern, v - x - 4)] {
            let point = self.point(hook);
            self.hook((x, y), point, room);
        }
    }

    /// From z to the stream.
    fn output(&mut self) {
        let (_, x) = self.columns();
        let (z, result, out) = (self.y(R::Z), self.y(R::Result), self.y(R::AttnOut));
        let (z_point, result_point, out_point) = (self.point(B::Z), self.point(B::Result), self.point(B::AttnOut));
        let room = if self.plan.operations { self.plan.attn_end - x - 3 } else { self.plan.lanes[2] - x - 3 };
        let (result_x, out_x) = match self.plan.operations {
            true => (x, x),
            false => (x + 2, x + 4 + self.width(result_point, 0)),
        };
        if self.plan.operations {
            let (end, above) = (self.y(R::AttnEnd), self.y(R::AttnOutOp));
            self.wire(&[(x, z), (x, result)], &[B::Z], &[B::Result]);
            self.wire(&[(x, result), (x, above)], &[B::Result], &[B::AttnOut]);
            self.wire(&[(x, end), (x, out)], &[B::Result], &[B::AttnOut]);
        } else {
            self.wire(&[(x, z), (x, result), (result_x, result)], &[B::Z], &[B::Result]);
            self.wire(&[(result_x, out), (out_x, out)], &[B::Result], &[B::AttnOut]);
        }
        self.add(out_x, R::AttnOut, B::AttnOut, B::ResidMid);
        self.operation(x, R::ResultOp, "W_O");
        let text = self.either("Σ heads + b_O", "sum heads + b_O").to_string();
        self.operation(x, R::AttnOutOp, &text);
        self.hook((x, z), z_point, room);
        self.hook((result_x, result), result_point, if self.plan.operations { room } else { 0 });
        let room = self.plan.bus - out_x - 6;
        self.hook((out_x, out), out_point, room);
    }
}
