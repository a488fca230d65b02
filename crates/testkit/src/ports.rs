use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use crate::Error;

/// [`PortBlock::LEN`] free consecutive TCP ports, kept from every other `PortBlock` on this machine until dropped.
///
/// The blocks lie below the ephemeral range, so an outgoing connection never takes one between the reservation and the
/// `bind`; a locked file per block keeps test processes apart that run side by side.
#[derive(Debug)]
pub struct PortBlock {
    first: u16,
    _lock: File,
}

impl PortBlock {
    /// Ports in one block.
    pub const LEN: u16 = 16;
    const BLOCKS: u32 = 500;
    const FIRST: u16 = 21_000;

    /// Reserves a block in which every port can be bound.
    ///
    /// # Errors
    /// When no block is free, or the folder of lock files cannot be written.
    pub fn reserve() -> Result<Self, Error> {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let dir = env::temp_dir().join("weir-testkit-ports");
        fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
        for _ in 0..Self::BLOCKS {
            let turn = TURN.fetch_add(1, Ordering::Relaxed);
            let block = process::id().wrapping_mul(31).wrapping_add(turn) % Self::BLOCKS;
            if let Some(reserved) = Self::try_block(dir.join(block.to_string()), block)? {
                return Ok(reserved);
            }
        }
        Err(Error::Missing { what: "a block of free ports".into(), cure: "stop what listens on 21000-28999".into() })
    }

    /// The `index`-th port of the block; `index` is taken modulo [`PortBlock::LEN`].
    #[must_use]
    pub fn port(&self, index: u16) -> u16 {
        self.first + index % Self::LEN
    }

    /// `127.0.0.1:PORT` of the `index`-th port.
    #[must_use]
    pub fn address(&self, index: u16) -> String {
        format!("127.0.0.1:{}", self.port(index))
    }

    fn try_block(path: PathBuf, block: u32) -> Result<Option<Self>, Error> {
        let lock = File::create(&path).map_err(Error::io(format!("open {}", path.display())))?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let first = u16::try_from(block).map_or(Self::FIRST, |block| Self::FIRST + block * Self::LEN);
        let free = (first..first + Self::LEN).all(|port| TcpListener::bind(("0.0.0.0", port)).is_ok());
        Ok(free.then_some(Self { first, _lock: lock }))
    }
}

#[cfg(test)]
mod tests {
    use super::PortBlock;

    #[test]
    fn gives_no_port_twice() {
        let (a, b) = (PortBlock::reserve().unwrap(), PortBlock::reserve().unwrap());
        assert!(a.port(0).abs_diff(b.port(0)) >= PortBlock::LEN, "{a:?} {b:?}");
    }

    #[test]
    fn gives_a_port_again_after_drop() {
        let path = std::env::temp_dir().join("weir-testkit-ports").join("499");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let first = PortBlock::try_block(path.clone(), 499).unwrap();
        assert!(first.is_some());
        assert!(PortBlock::try_block(path.clone(), 499).unwrap().is_none(), "held");
        drop(first);
        assert!(PortBlock::try_block(path, 499).unwrap().is_some(), "free again");
    }
}
