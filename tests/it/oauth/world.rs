//! Checks the test's token endpoint with a client that is not egressd, so that its counts can be
//! trusted.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::support::TokenEndpoint;

#[test]
fn a_killed_endpoint_refuses_sockets_and_comes_back_where_it_was() {
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let mut open = TcpStream::connect(endpoint.address()).unwrap();
    endpoint.kill();
    let mut rest = Vec::new();
    let _end = open.read_to_end(&mut rest);
    assert!(TcpStream::connect(endpoint.address()).is_err());
    endpoint.restart();
    let mut again = TcpStream::connect(endpoint.address()).unwrap();
    again.write_all(b"no TLS").unwrap();
    again.shutdown(Shutdown::Write).unwrap();
    let _end = again.read_to_end(&mut rest);
    assert_eq!((endpoint.calls(), endpoint.sockets() > 0), (0, true));
}
