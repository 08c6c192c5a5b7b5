//! Checks whether a run can fit in memory; without this check, the system would end the process without an explanation.

use candle_core::{DType, Device};

use crate::{
    hooks::{BlockHook, Capture, HookPoint, RunError, Schema},
    model::Model,
};

/// Refuse a pass over `n_pos` positions, from a block on, that certainly does not fit in memory.
///
/// What it keeps is a lower bound and what is free an upper bound, so that nothing that fits is refused: of this
/// process's memory, only the weights are known to be needed.
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
    /// Below this size, the free memory is not looked up.
    const SMALL: u64 = 256 << 20;
    if !matches!(model.place().device, Device::Cpu) {
        return Ok(());
    }
    let is_kept = |point: &HookPoint| {
        let (block, hook) = (point.block(), point.block_hook());
        // the same memory as the activation before it
        let shared = hook == Some(BlockHook::ResidPre) || point.is_opt_in();
        let left_out = leaving_out && point.is_square();
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

/// Refuse to keep the gradients at every hook if they do not fit in free memory beside the runs.
///
/// # Errors
/// [`RunError::TooLarge`].
pub(super) fn room_for_gradients(
    model: &Model,
    schema: &Schema,
    n_pos: usize,
    leaving_out: bool,
) -> Result<(), RunError> {
    if !matches!(model.place().device, Device::Cpu) {
        return Ok(());
    }
    let left_out = |point: &HookPoint| leaving_out && point.is_square();
    let count = |point: HookPoint| schema.shape(point, n_pos).into_iter().map(|n| n as u64).product::<u64>();
    let kept = schema.points().into_iter().filter(|point| !left_out(point));
    let needed = kept.map(count).sum::<u64>() * DType::F32.size_in_bytes() as u64;
    match free() {
        Some(left) if needed > left => Err(RunError::TooLarge { needed, left }),
        _ => Ok(()),
    }
}

/// Refuse what certainly does not fit in free memory.
///
/// # Errors
/// [`RunError::TooLarge`].
pub fn room_for(bytes: u64) -> Result<(), RunError> {
    match free() {
        Some(left) if bytes > left => Err(RunError::TooLarge { needed: bytes, left }),
        _ => Ok(()),
    }
}

/// The memory that this process can still get; None if the system does not say.
#[cfg(target_os = "linux")]
fn free() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok()?;
    kibibytes(&system, "MemAvailable")
}

#[cfg(not(target_os = "linux"))]
fn free() -> Option<u64> {
    None
}

/// The most memory that this process could have for anything but the weights; None if the system does not say.
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

/// The bytes that a line of `/proc` states, such as `MemAvailable:   123 kB`.
#[cfg(target_os = "linux")]
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_from_the_system() {
        let text = "MemTotal:       100 kB\nMemAvailable:   12 kB\nSwapFree: x kB\n";
        assert_eq!(kibibytes(text, "MemAvailable"), Some(12 << 10));
        assert_eq!((kibibytes(text, "Mem"), kibibytes(text, "SwapFree")), (None, None));
        let all = left(0).unwrap();
        assert!(all > 1 << 20);
        assert_eq!(left(u64::MAX), Some(0));
    }
}
