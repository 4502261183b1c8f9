//! The protocol of one connection from its first byte on: the handshake, then the session.

use super::handshake::{HandshakeError, HandshakeProgress, ServerHandshake};
use super::outbox::Outbox;
use super::proto::server::{ProtocolError, ServerSession};

/// Why the bytes of a peer make no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl WireError {
    /// The word that counts it.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::Protocol(_) => "protocol",
        }
    }

    /// The limit that was reached, if that is it.
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Handshake(_) => None,
            Self::Protocol(error) => error.limit(),
        }
    }
}

/// The handshake while it lasts, and the session.
#[derive(Debug)]
pub(super) struct Wire {
    handshake: Option<Box<ServerHandshake>>,
    pub(super) session: ServerSession,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self { handshake: Some(Box::default()), session: ServerSession::new() }
    }

    /// Takes bytes from the peer. Answers of the handshake go to `outbox`; those of the session are to be polled.
    pub(super) fn handle_input(&mut self, mut input: &[u8], outbox: &mut Outbox) -> Result<(), WireError> {
        if let Some(handshake) = &mut self.handshake {
            match handshake.handle_input(input)? {
                HandshakeProgress::InProgress { output } => {
                    outbox.push_control(output.into());
                    return Ok(());
                }
                HandshakeProgress::Done { output, remainder } => {
                    outbox.push_control(output.into());
                    input = remainder;
                    self.handshake = None;
                }
            }
        }
        Ok(self.session.handle_input(input)?)
    }
}
