//! Ctrl-C, SIGTERM and, on Unix, SIGHUP, which comes when the terminal closes. The first one asks the
//! training to stop after its step and save; a second Ctrl-C or SIGTERM ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Remembers a signal for the training loop.
pub(crate) struct Signals {
    /// The number of the signal that came; 0 for none.
    received: Arc<AtomicUsize>,
}

impl Signals {
    pub(crate) fn install() -> Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the shutdown looks at `again` before this signal sets it, so that only
            // the second signal finds it set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
                .and_then(|_| flag::register(signal, Arc::clone(&again)))
                .and_then(|_| {
                    let number = usize::try_from(signal).unwrap_or(usize::MAX);
                    flag::register_usize(signal, Arc::clone(&received), number)
                })
                .context("cannot listen for Ctrl-C")?;
        }
        #[cfg(unix)]
        hang_up(&received)?;
        Ok(Self { received })
    }

    /// The signal that came, if one did.
    pub(crate) fn received(&self) -> Option<i32> {
        match self.received.load(Ordering::Relaxed) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}

/// Listens for SIGHUP, unless the process was started with it ignored, as `nohup` does. It never ends the
/// process at once: a terminal that closes sends it twice, from the shell and from the system, and a
/// shutdown sends it after SIGTERM.
#[cfg(unix)]
fn hang_up(received: &Arc<AtomicUsize>) -> Result<()> {
    use signal_hook::consts::SIGHUP;
    if crate::runtime::is_ignored(SIGHUP) {
        return Ok(());
    }
    let number = usize::try_from(SIGHUP).unwrap_or(usize::MAX);
    flag::register_usize(SIGHUP, Arc::clone(received), number)
        .context("cannot listen for the end of the terminal")?;
    Ok(())
}
