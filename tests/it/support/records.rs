//! Writes TLS 1.3 records by hand (RFC 8446 §5), for cases that no library sends: records without
//! data, and records of one byte.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConnection, SupportedCipherSuite,
};

/// The sending half of a TLS session.
pub(crate) struct TlsRecords {
    tcp: Arc<TcpStream>,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl TlsRecords {
    pub(super) fn new(connection: ServerConnection, tcp: Arc<TcpStream>) -> Self {
        let Some(SupportedCipherSuite::Tls13(suite)) = connection.negotiated_cipher_suite() else {
            panic!("a session of TLS 1.3");
        };
        let (sequence, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("a known cipher");
        };
        let mut records = Self {
            tcp,
            encrypter: suite.aead_alg.encrypter(key, iv),
            sequence: 0,
        };
        // AWS-LC requires that the first sequence number is 0 and that later ones increase. So the
        // records that the session has already sent are encrypted again and discarded.
        while records.sequence < sequence {
            records.record(&[]);
        }
        records
    }

    /// Returns the next record of application data.
    pub(crate) fn record(&mut self, data: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_3,
            payload: OutboundChunks::Single(data),
        };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }

    /// Sends bytes unchanged. Returns `false` if the other side is gone.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        (&*self.tcp).write_all(bytes).is_ok()
    }
}
