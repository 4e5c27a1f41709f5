//! egressd: a sandboxed outbound HTTP proxy sidecar.
