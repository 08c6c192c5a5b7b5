//! Turns panics into errors: those of libraries on unexpected input, and those of background threads.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Run `work`, which may panic on bad input, without printing the panic.
///
/// # Errors
/// `work` panicked.
pub(crate) fn expected<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(before);
    result.map_err(|panic| message(panic.as_ref()))
}

/// Run `work`, so that a panic in a background thread is reported as an error.
///
/// # Errors
/// `work` panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("internal error: {}", message(panic.as_ref())))
}

/// Whether [`expected`] catches the panics of this thread.
pub(crate) fn is_expected() -> bool {
    EXPECTED.get()
}

/// Keep panics that [`expected`] catches from being printed.
pub(crate) fn keep_expected_ones_quiet() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !is_expected() {
            print(info);
        }
    }));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason given").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        assert_eq!(expected(|| 1), Ok(1));
        assert_eq!(expected(|| panic!("of {}", 2)), Err::<(), _>("of 2".into()));
        assert!(!is_expected());
        assert_eq!(expected(is_expected), Ok(true));
    }
}
