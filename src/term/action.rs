//! What signals do that end or stop the process: the terminal is given back before.
#![allow(unsafe_code, reason = "no safe interface sets the action of SIGSEGV or SIGABRT, or a signal's default action")]

use std::{
    ffi::{c_int, c_void},
    io, mem, ptr,
    sync::OnceLock,
};

use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::modes;

/// Signals that end the process with no chance to do anything about it: faults, limits, and those that others send and
/// nobody here listens for.
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

/// The actions that were there before, in the order of [`FATAL`].
static BEFORE: OnceLock<[Option<libc::sigaction>; FATAL.len()]> = OnceLock::new();

/// Let fatal signals give the terminal back before they do what they did.
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

/// Stop as SIGTSTP does where nobody catches it, the whole job or this process alone. Returns once continued; at once where
/// no shell could continue it.
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

/// Runs in the handler of a signal: only what POSIX calls async-signal-safe.
extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    modes::leave_at_once();
    // SAFETY: with SA_SIGINFO, the kernel gives a pointer to the signal's information.
    let code = unsafe { (*info).si_code };
    // from the processor, not from another process
    if code > 0 && matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE) {
        // It happens again as soon as this returns, and the action before, which can tell a stack overflow, meets it whole.
        let before = BEFORE.get().and_then(|all| FATAL.into_iter().zip(all).find(|(fatal, _)| *fatal == signal));
        set(signal, &before.and_then(|(_, before)| *before).unwrap_or_else(|| handled_by(libc::SIG_DFL)));
    } else {
        set(signal, &handled_by(libc::SIG_DFL));
        // SAFETY: raising a signal touches no memory.
        unsafe { libc::raise(signal) };
    }
}

/// An action that runs `handler` on the alternate stack, where a stack overflow leaves room for it.
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
    // SAFETY: `action` is one that was there before, the default one, or runs `on_fatal`, which is async-signal-safe.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}
