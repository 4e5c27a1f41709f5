//! The states of an agent's socket.

/// The state of a socket. The documentation of the parent module shows the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketState {
    /// No byte has arrived yet.
    Accepted,
    /// The socket waits for another request, of which no byte has arrived.
    Idle,
    /// A head has begun.
    Head,
    /// A request has no response yet.
    Exchange,
    /// The head of a response is being sent. A refusal is no longer possible, so an error can only
    /// cut the response off.
    Responding,
    /// As [`SocketState::Responding`], and the response is an event stream: if it is cut off, its
    /// last event gives the reason.
    Streaming,
    /// The response is complete, but the agent has not accepted all of its bytes yet.
    Flushing,
    /// Everything is written, and the agent has a moment to read it.
    Closing,
    /// The ticker removes the socket from its list.
    Closed,
}

impl SocketState {
    /// All states in the order of their numbers.
    pub(super) const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Idle,
        Self::Head,
        Self::Exchange,
        Self::Responding,
        Self::Streaming,
        Self::Flushing,
        Self::Closing,
        Self::Closed,
    ];

    pub(super) fn is_idle(self) -> bool {
        matches!(self, Self::Accepted | Self::Idle)
    }

    pub(super) fn awaits_head(self) -> bool {
        self.is_idle() || self == Self::Head
    }

    pub(super) fn is_exchange(self) -> bool {
        matches!(self, Self::Exchange | Self::Responding | Self::Streaming)
    }
}
