//! A socket in a set of its own, for it is by sets that smoltcp is driven.

use alloc::vec::Vec;
use core::marker::PhantomData;

use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::AnySocket,
};

/// The socket.
pub(crate) struct Lone<S> {
    set: SocketSet<'static>,
    handle: SocketHandle,
    kind: PhantomData<S>,
}

impl<S: AnySocket<'static>> Lone<S> {
    pub(crate) fn new(socket: S) -> Self {
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Self {
            set,
            handle,
            kind: PhantomData,
        }
    }

    pub(crate) fn set(&mut self) -> &mut SocketSet<'static> {
        &mut self.set
    }

    pub(crate) fn socket(&self) -> &S {
        self.set.get(self.handle)
    }

    pub(crate) fn socket_mut(&mut self) -> &mut S {
        self.set.get_mut(self.handle)
    }
}
