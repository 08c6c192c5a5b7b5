//! Signal handlers that restore the terminal before a signal ends or stops the process.
#![allow(unsafe_code, reason = "no safe interface sets the action of SIGSEGV or SIGABRT, or a signal's default action")]

use std::{
    ffi::{c_int, c_void},
    io, mem, ptr,
    sync::OnceLock,
};

use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::modes;

/// Signals that end the process and are not handled as events: faults, limits, and signals of other processes that
/// [`super::listen`] does not catch.
const FATAL: [c_int; 13] = [
    libc::SIGABRT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
];

/// The previous actions, in the order of [`FATAL`].
static BEFORE: OnceLock<[Option<libc::sigaction>; FATAL.len()]> = OnceLock::new();

/// Make fatal signals restore the terminal before their previous action.
pub(super) fn guard() {
    if BEFORE.set(FATAL.map(action)).is_err() {
        return;
    }
    for (signal, before) in FATAL.into_iter().zip(BEFORE.get().into_iter().flatten()) {
        if before.is_some_and(|before| before.sa_sigaction != libc::SIG_IGN) {
            set(signal, &handled_by(on_fatal as *const () as usize));
        }
    }
}

/// Stop the whole job, or this process alone, by the default action of SIGTSTP. Returns once continued, or at once if there
/// is no shell to continue it.
///
/// # Errors
/// The process can't be stopped.
pub(super) fn stop(job: bool) -> io::Result<()> {
    let before = action(libc::SIGTSTP);
    set(libc::SIGTSTP, &handled_by(libc::SIG_DFL));
    let stopped = match job {
        true => kill_current_process_group(Signal::TSTP),
        false => kill_process(getpid(), Signal::TSTP),
    };
    if let Some(before) = before {
        set(libc::SIGTSTP, &before);
    }
    Ok(stopped?)
}

/// A signal handler: calls only what POSIX calls async-signal-safe.
extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    modes::leave_at_once();
    // SAFETY: with SA_SIGINFO, the kernel gives a pointer to the signal's information.
    let code = unsafe { (*info).si_code };
    // raised by the processor, not by another process
    if code > 0 && matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE) {
        // The fault recurs when this returns, and the previous action, which recognises a stack overflow, handles it.
        let before = BEFORE.get().and_then(|all| FATAL.into_iter().zip(all).find(|(fatal, _)| *fatal == signal));
        set(signal, &before.and_then(|(_, before)| *before).unwrap_or_else(|| handled_by(libc::SIG_DFL)));
    } else {
        set(signal, &handled_by(libc::SIG_DFL));
        // SAFETY: raising a signal touches no memory.
        unsafe { libc::raise(signal) };
    }
}

/// An action that runs `handler` on the alternate stack, which is usable after a stack overflow.
fn handled_by(handler: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: a sigaction is plain data, and all zeros are one.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action
}

/// The action of a signal.
fn action(signal: c_int) -> Option<libc::sigaction> {
    // SAFETY: as in `handled_by`; the kernel only writes to `action`.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        (libc::sigaction(signal, ptr::null(), &raw mut action) == 0).then_some(action)
    }
}

fn set(signal: c_int, action: &libc::sigaction) {
    // SAFETY: `action` is a previous action, the default one, or runs `on_fatal`, which is async-signal-safe.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}
