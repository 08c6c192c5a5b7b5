//! Whether a run can fit in memory: without it, the system ends the process, with no chance to say why.

use candle_core::Device;

use crate::{
    hooks::{BlockHook, Capture, HookPoint, RunError, Schema},
    model::Model,
};

/// Refuse a pass over `n_pos` positions from a block on that would certainly keep more than there is memory for.
///
/// What it keeps is counted from below, and what is left from above, so that nothing that fits is refused: of what this
/// process holds, only the weights are known to be needed.
///
/// # Errors
/// [`RunError::TooLarge`].
pub(super) fn check(
    model: &Model,
    schema: &Schema,
    capture: &Capture,
    from: usize,
    n_pos: usize,
    leaving_out: bool,
) -> Result<(), RunError> {
    /// Less than this is not worth asking for what is left.
    const SMALL: u64 = 256 << 20;
    if !matches!(model.place().device, Device::Cpu) {
        return Ok(());
    }
    let is_kept = |point: &HookPoint| {
        let (block, hook) = (point.block(), point.block_hook());
        // the same memory as the activation before it
        let shared = hook == Some(BlockHook::ResidPre) || point.is_opt_in();
        let left_out = leaving_out && matches!(hook, Some(BlockHook::AttnScores | BlockHook::Pattern));
        capture.wants(*point) && !shared && !left_out && block.is_none_or(|block| block >= from)
    };
    let bytes = |point: HookPoint| {
        schema.shape(point, n_pos).into_iter().map(|n| n as u64).product::<u64>()
            * model.dtype_at(point).size_in_bytes() as u64
    };
    let needed: u64 = schema.points().into_iter().filter(is_kept).map(bytes).sum();
    if needed < SMALL {
        return Ok(());
    }
    match left(model.weight_bytes()) {
        Some(left) if needed > left => Err(RunError::TooLarge { needed, left }),
        _ => Ok(()),
    }
}

/// The most memory that this process could still come by, beside the weights; None where the system does not tell.
#[cfg(target_os = "linux")]
fn left(weights: u64) -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    let read = |path| std::fs::read_to_string(path).ok();
    let resident = kibibytes(&read("/proc/self/status")?, "VmRSS")?;
    let system = read("/proc/meminfo")?;
    let free = kibibytes(&system, "MemAvailable")? + kibibytes(&system, "SwapFree").unwrap_or(0);
    let most = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    Some(free.saturating_add(resident).min(most).saturating_sub(weights))
}

#[cfg(not(target_os = "linux"))]
fn left(_weights: u64) -> Option<u64> {
    None
}

/// The bytes that a line of `/proc` tells, such as `MemAvailable:   123 kB`.
#[cfg(target_os = "linux")]
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_from_the_system() {
        let text = "MemTotal:       100 kB\nMemAvailable:   12 kB\nSwapFree: x kB\n";
        assert_eq!(kibibytes(text, "MemAvailable"), Some(12 << 10));
        assert_eq!((kibibytes(text, "Mem"), kibibytes(text, "SwapFree")), (None, None));
        let all = left(0).unwrap();
        assert!(all > 1 << 20);
        assert_eq!(left(u64::MAX), Some(0));
    }
}
