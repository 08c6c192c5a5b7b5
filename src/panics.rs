//! Panics as errors: of a library that meets input which it did not expect, and of a thread beside the screen.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or what it panicked with. Such a panic is an answer: nothing is printed.
///
/// # Errors
/// `work` panicked.
pub(crate) fn expected<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(before);
    result.map_err(|panic| message(panic.as_ref()))
}

/// What `work` returns, or that it panicked: a thread beside the screen must not end without a word.
///
/// # Errors
/// `work` panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("internal error: {}", message(panic.as_ref())))
}

/// Whether a panic of this thread is one that [`expected`] catches.
pub(crate) fn is_expected() -> bool {
    EXPECTED.get()
}

/// Print panics as before, but not those that are expected.
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
    text.unwrap_or("no reason was given").to_string()
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
