//! Operations that fail.

use std::io;

use super::Operation;

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

/// Makes one operation fail, or all from one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// None: any operation, reads included.
    pub of: Option<Operation>,
    /// How many operations of the kind succeed first.
    pub after: usize,
    /// Whether all later ones fail as well.
    pub lasts: bool,
    /// A failed write leaves the first part of its bytes.
    pub is_short: bool,
    pub errno: i32,
}

impl Fault {
    /// The operation after the next `after` ones, once.
    pub(crate) fn once(of: Option<Operation>, after: usize) -> Self {
        Self { of, after, lasts: false, is_short: false, errno: EIO }
    }

    pub(super) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}

/// The faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    /// How many operations failed.
    pub(super) num_failed: usize,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    /// The fault of an operation that begins, if it is to fail.
    pub(super) fn strikes(&mut self, operation: Operation) -> Option<Fault> {
        let mut struck = None;
        self.planned.retain_mut(|fault| {
            if fault.of.is_some_and(|of| of != operation) {
                return true;
            }
            if let Some(left) = fault.after.checked_sub(1) {
                fault.after = left;
                return true;
            }
            struck = Some(*fault);
            fault.lasts
        });
        self.num_failed += usize::from(struck.is_some());
        struck
    }
}
