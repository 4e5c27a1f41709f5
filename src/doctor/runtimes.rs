//! Container runtimes: their sockets, and their APIs on TCP. A process that can use one of them is
//! root on the machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::finding::{Check, Finding};
use super::http_probes::{Heard, has, hear, hear_at, worst};
use super::network::Reach;
use super::proc_net::abstract_names;
use crate::probe_client::{Answer, Door};

/// Socket files of runtimes. `/var/run` is a link to `/run` on most systems, but not in every
/// image.
const SOCKETS: &[&str] = &[
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/run/podman/podman.sock",
    "/run/buildkit/buildkitd.sock",
];
/// Sockets of a user's own runtime, below `/run/user/UID`: a process that can use one acts as that
/// user.
const OF_USER: &[&str] = &[
    "docker.sock",
    "podman/podman.sock",
    "buildkit/buildkitd.sock",
];
/// Parts of the abstract socket names of runtimes (containerd before 1.3.9 and 1.4.3,
/// CVE-2020-15257; Docker's own containerd).
const ABSTRACT: &[&str] = &["containerd", "docker", "podman", "crio", "buildkit"];

/// The APIs that can answer at a port. Each variant states how its answer is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// Docker's Engine API, which Podman implements too: the answer to `GET /_ping` has a version
    /// header.
    Engine,
    /// The kubelet's read-only port, which lists the pods of the node.
    Kubelet,
}

/// Default ports: Docker in plain text and over TLS (docs.docker.com: "Configure remote access for
/// Docker daemon"), on this machine and on the host around Docker Desktop; the kubelet's
/// (kubernetes.io: "Ports and Protocols").
const PORTS: &[(&str, Api)] = &[
    ("127.0.0.1:2375", Api::Engine),
    ("127.0.0.1:2376", Api::Engine),
    ("host.docker.internal.:2375", Api::Engine),
    ("127.0.0.1:10255", Api::Kubelet),
    ("127.0.0.1:10250", Api::Kubelet),
];

/// Returns the runtime sockets to check: the usual files, and the abstract names in use in this
/// network namespace (`net` is `/proc/self/net`).
pub(super) fn sockets(folder: &Path) -> Vec<Door> {
    let user = rustix::process::getuid().as_raw();
    let own = OF_USER
        .iter()
        .map(|name| format!("/run/user/{user}/{name}"));
    let files = SOCKETS.iter().map(|path| (*path).to_owned()).chain(own);
    let mut doors: Vec<Door> = files.map(|path| Door::Unix(path.into())).collect();
    let table = fs::read(folder.join("unix")).unwrap_or_default();
    let is_known = |name: &&[u8]| ABSTRACT.iter().any(|word| has(name, word.as_bytes()));
    let named: BTreeSet<PathBuf> = abstract_names(&table)
        .filter(is_known)
        .map(|name| {
            // The kernel shows zero bytes as `@`, including the leading one of an abstract name.
            let name: Vec<u8> = name
                .iter()
                .map(|b| if *b == b'@' { 0 } else { *b })
                .collect();
            PathBuf::from(OsStr::from_bytes(&name))
        })
        .collect();
    doors.extend(named.into_iter().map(Door::Unix));
    doors
}

/// Checks if a container runtime accepts connections at this socket. Some runtimes do not use HTTP,
/// so an accepted connection is enough.
pub(super) async fn socket(reach: Reach, door: Door) -> Finding {
    let check = Check::RuntimeSocket;
    let shown = match &door {
        Door::Unix(path) if path.is_absolute() => path.display().to_string(),
        Door::Unix(_) | Door::Tcp(_) | Door::Name(..) => door.to_string(),
    };
    match hear_at(door, "/", reach.until()).await {
        Heard::Answer(_) | Heard::Mute(_) => check.open(shown, "a connection was accepted"),
        Heard::Nobody(why) => check.closed(shown, why),
        Heard::Untried(why) => check.unknown(shown, why),
    }
}

/// Returns the ports to check.
pub(super) fn apis() -> impl Iterator<Item = (Door, Api)> {
    let parsed = PORTS.iter();
    parsed.filter_map(|(text, api)| Some((Door::parse(text).ok()?, *api)))
}

/// Checks if the API of a container runtime answers here.
pub(super) async fn api(reach: Reach, door: Door, api: Api) -> Finding {
    let check = Check::RuntimeSocket;
    let shown = door.to_string();
    let judge = |answer: Answer| match api.judge(&answer) {
        Some(seen) => check.open(shown.clone(), seen),
        None if has(&answer.body, b"HTTPS server") => {
            let seen = "uses TLS; it is unknown if it requires a client certificate";
            check.unknown(shown.clone(), seen)
        }
        None => check.closed(shown.clone(), "something else answers"),
    };
    worst(check, &shown, hear(&reach, door, api.path()).await, judge)
}

impl Api {
    fn path(self) -> &'static str {
        match self {
            Self::Engine => "/_ping",
            Self::Kubelet => "/pods",
        }
    }

    /// Returns a description of the answer if it comes from this API.
    fn judge(self, answer: &Answer) -> Option<&'static str> {
        let is_known = match self {
            Self::Engine => ["api-version", "libpod-api-version"]
                .iter()
                .any(|name| answer.fields.contains_key(*name)),
            Self::Kubelet => answer.status.is_success() && has(&answer.body, b"\"PodList\""),
        };
        is_known.then_some(match self {
            Self::Engine => "answers as a container engine, without a certificate",
            Self::Kubelet => "answers as a kubelet: it lists the pods of the node",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::time::Duration;

    use super::super::finding::State;
    use super::{Api, Check, Door, Finding, Path, Reach, api, fs, socket, sockets};
    use crate::upstream::ResolverSettings;

    fn run(finding: impl Future<Output = Finding>) -> Finding {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(finding)
    }

    fn reach() -> Reach {
        Reach::with(
            &ResolverSettings::with_servers(&[], ""),
            Duration::from_secs(10),
        )
    }

    /// Listens on a port and sends each of these answers once.
    fn answering(answers: &'static [&'static str]) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let _request = socket.read(&mut [0; 1024]).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        door
    }

    #[test]
    fn an_engine_on_tcp_is_known_by_its_answer() {
        // F-266
        let rows: [(Api, &'static [&'static str], State); 6] = [
            (
                Api::Engine,
                &[
                    "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nServer: Docker/28.3.0 (linux)\r\nContent-Length: 2\r\n\r\nOK",
                ],
                State::Open,
            ),
            (
                Api::Engine,
                &["HTTP/1.1 200 OK\r\nLibpod-Api-Version: 5.4.2\r\nContent-Length: 2\r\n\r\nOK"],
                State::Open,
            ),
            (
                Api::Engine,
                &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"],
                State::Closed,
            ),
            (
                Api::Engine,
                &[
                    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
                ],
                State::Unknown,
            ),
            (
                Api::Kubelet,
                &["HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"kind\": \"PodList\"}"],
                State::Open,
            ),
            (
                Api::Kubelet,
                &["HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"],
                State::Closed,
            ),
        ];
        for (kind, answers, state) in rows {
            let door = answering(answers);
            let found = run(async { api(reach(), door, kind).await });
            assert_eq!(found.state, state, "{answers:?}: {found:?}");
            assert_eq!(
                (found.check, found.remedy.is_some()),
                (Check::RuntimeSocket, state != State::Closed)
            );
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let door = Door::Tcp(closed.unwrap());
        let found = run(async { api(reach(), door, Api::Engine).await });
        assert_eq!(found.state, State::Closed, "{found:?}");
    }

    #[test]
    fn an_abstract_socket_of_a_runtime_is_found_and_tried() {
        // F-266
        let name = format!("/containerd-shim/k8s.io/{}/shim.sock", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let shown = format!("unix:@{name}");
        let found = || sockets(Path::new("/proc/self/net"));
        let door = found().into_iter().find(|door| door.to_string() == shown);
        let door = door.unwrap_or_else(|| panic!("{shown} is not in {:?}", found()));
        std::thread::spawn(move || listener.accept().unwrap());
        let tried = run(async { socket(reach(), door.clone()).await });
        assert_eq!(
            (tried.state, tried.target.as_str()),
            (State::Open, shown.as_str())
        );
        // Its listener has been dropped.
        let tried = run(async { socket(reach(), door).await });
        assert_eq!(tried.state, State::Closed, "{tried:?}");
    }

    #[test]
    fn other_abstract_sockets_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let table = "0000: 00000002 00000000 00010000 0001 01     7 @/containerd-shim/a.sock@\n\
                     0000: 00000002 00000000 00010000 0001 01 8 @/tmp/.X11-unix/X0\n\
                     0000: 00000003 00000000 00000000 0001 03 9 @/containerd-shim/connected.sock\n\
                     0000: 00000002 00000000 00010000 0001 01 10 /run/containerd.sock\n";
        fs::write(folder.path().join("unix"), table).unwrap();
        let of_table =
            |folder: &Path| sockets(folder).split_off(sockets(Path::new("/nowhere")).len());
        let found: Vec<String> = of_table(folder.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["unix:@/containerd-shim/a.sock@"]);
    }
}
