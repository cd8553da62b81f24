//! What is known of a few sockets besides: a table that is as small in code as it is in use.

use alloc::vec::Vec;

use wasi_core::network::SocketId;

/// Entries by their socket.
#[derive(Debug)]
pub(super) struct Table<T>(Vec<(SocketId, T)>);

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds an entry of a socket that has none.
    pub(super) fn insert(&mut self, socket: SocketId, value: T) {
        self.0.push((socket, value));
    }

    fn place(&self, socket: SocketId) -> Option<usize> {
        self.0.iter().position(|(of, _)| *of == socket)
    }

    pub(super) fn get(&self, socket: SocketId) -> Option<&T> {
        let (_, value) = self.0.get(self.place(socket)?)?;
        Some(value)
    }

    pub(super) fn get_mut(&mut self, socket: SocketId) -> Option<&mut T> {
        let place = self.place(socket)?;
        let (_, value) = self.0.get_mut(place)?;
        Some(value)
    }

    pub(super) fn remove(&mut self, socket: SocketId) -> Option<T> {
        let place = self.place(socket)?;
        Some(self.0.swap_remove(place).1)
    }
}
