//! Container runtimes: their sockets, and their APIs on TCP. A process that can use one of them is
//! root on the machine.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::finding::{Finding, FindingState, SandboxCheck};
use super::http_probes::{ProbeOutcome, contains, probe_http_at, worst_finding};
use super::network::NetworkProbe;
use super::proc_net::abstract_names;
use crate::probe_client::{ProbeResponse, ProbeTarget};

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
/// Sockets of rootless runtimes, below `/run/user/UID`: a process that can use one acts as that
/// user.
const OF_USER: &[&str] = &[
    "docker.sock",
    "podman/podman.sock",
    "buildkit/buildkitd.sock",
];
/// Parts of the abstract socket names of runtimes (containerd before 1.3.9 and 1.4.3,
/// CVE-2020-15257; the containerd of Docker).
const ABSTRACT: &[&str] = &["containerd", "docker", "podman", "crio", "buildkit"];

/// The APIs that can answer at a port. Each variant states how its answer is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuntimeApi {
    /// Docker's Engine API, which Podman implements too: the answer to `GET /_ping` has a version
    /// header.
    Engine,
    /// The kubelet's read-only port, which lists the pods of the node.
    Kubelet,
}

/// The default ports of Docker in plain text and over TLS (docs.docker.com: "Configure remote
/// access for Docker daemon"), on this machine and on the host of Docker Desktop, and those of the
/// kubelet (kubernetes.io: "Ports and Protocols").
const PORTS: &[(&str, RuntimeApi)] = &[
    ("127.0.0.1:2375", RuntimeApi::Engine),
    ("127.0.0.1:2376", RuntimeApi::Engine),
    ("host.docker.internal.:2375", RuntimeApi::Engine),
    ("127.0.0.1:10255", RuntimeApi::Kubelet),
    ("127.0.0.1:10250", RuntimeApi::Kubelet),
];

/// Returns the runtime sockets to check: the usual files, and the abstract names in use in this
/// network namespace (`net` is `/proc/self/net`).
pub(super) fn runtime_sockets(folder: &Path) -> Vec<ProbeTarget> {
    let user = rustix::process::getuid().as_raw();
    let own = OF_USER
        .iter()
        .map(|name| format!("/run/user/{user}/{name}"));
    let files = SOCKETS.iter().map(|path| (*path).to_owned()).chain(own);
    let mut targets: Vec<ProbeTarget> = files.map(|path| ProbeTarget::Unix(path.into())).collect();
    let table = fs::read(folder.join("unix")).unwrap_or_default();
    let is_known = |name: &&[u8]| ABSTRACT.iter().any(|word| contains(name, word.as_bytes()));
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
    targets.extend(named.into_iter().map(ProbeTarget::Unix));
    targets
}

/// Checks if a container runtime accepts connections at this socket. Some runtimes do not use HTTP,
/// so an accepted connection is enough.
pub(super) async fn probe_socket(probe: NetworkProbe, target: ProbeTarget) -> Finding {
    let check = SandboxCheck::RuntimeSocket;
    let shown = match &target {
        // An abstract socket has no path, and is shown with `unix:@`.
        ProbeTarget::Unix(path) if path.is_absolute() => path.display().to_string(),
        ProbeTarget::Unix(_) | ProbeTarget::Tcp(_) | ProbeTarget::Name(..) => target.to_string(),
    };
    match probe_http_at(target, "/", probe.deadline()).await {
        ProbeOutcome::Response(_) | ProbeOutcome::NoResponse(_) => {
            check.open(shown, "a connection was accepted")
        }
        ProbeOutcome::NothingListens(why) => check.closed(shown, why),
        ProbeOutcome::NotTried(why) => check.unknown(shown, why),
    }
}

/// Returns the ports to check.
pub(super) fn runtime_apis() -> impl Iterator<Item = (ProbeTarget, RuntimeApi)> {
    let parsed = PORTS.iter();
    parsed.filter_map(|(text, api)| Some((ProbeTarget::parse(text).ok()?, *api)))
}

/// Checks if the API of a container runtime answers here.
pub(super) async fn probe_api(
    probe: NetworkProbe,
    target: ProbeTarget,
    api: RuntimeApi,
) -> Finding {
    let found = (SandboxCheck::RuntimeSocket, target.to_string());
    let classify = |response: &ProbeResponse| match api.describe(response) {
        Some(seen) => (FindingState::Open, seen.into()),
        None if contains(&response.body, b"HTTPS server") => {
            let seen = "uses TLS; it is unknown if it requires a client certificate";
            (FindingState::Unknown, seen.into())
        }
        None => (
            FindingState::Closed,
            "the server does not answer as a container runtime or kubelet".into(),
        ),
    };
    worst_finding(&probe, (target, api.path()), found, classify).await
}

impl RuntimeApi {
    fn path(self) -> &'static str {
        match self {
            Self::Engine => "/_ping",
            Self::Kubelet => "/pods",
        }
    }

    /// Returns a description of the answer if it comes from this API.
    fn describe(self, answer: &ProbeResponse) -> Option<&'static str> {
        let is_known = match self {
            Self::Engine => ["api-version", "libpod-api-version"]
                .iter()
                .any(|name| answer.fields.contains_key(*name)),
            Self::Kubelet => answer.status.is_success() && contains(&answer.body, b"\"PodList\""),
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

    use super::{
        Finding, FindingState, NetworkProbe, Path, ProbeTarget, RuntimeApi, SandboxCheck, fs,
        probe_api, probe_socket, runtime_sockets,
    };
    use crate::upstream::ResolverSettings;

    fn run(finding: impl Future<Output = Finding>) -> Finding {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(finding)
    }

    fn probe() -> NetworkProbe {
        NetworkProbe::with_settings(
            &ResolverSettings::with_servers(&[], ""),
            Duration::from_secs(10),
        )
    }

    /// Listens on a port and sends each of these answers once.
    fn answering(answers: &'static [&'static str]) -> ProbeTarget {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = ProbeTarget::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let _request = socket.read(&mut [0; 1024]).unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        target
    }

    #[test]
    fn an_engine_on_tcp_is_recognised_by_its_response() {
        // F-266
        let rows: [(RuntimeApi, &'static [&'static str], FindingState); 6] = [
            (
                RuntimeApi::Engine,
                &[
                    "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nServer: Docker/28.3.0 (linux)\r\nContent-Length: 2\r\n\r\nOK",
                ],
                FindingState::Open,
            ),
            (
                RuntimeApi::Engine,
                &["HTTP/1.1 200 OK\r\nLibpod-Api-Version: 5.4.2\r\nContent-Length: 2\r\n\r\nOK"],
                FindingState::Open,
            ),
            (
                RuntimeApi::Engine,
                &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"],
                FindingState::Closed,
            ),
            (
                RuntimeApi::Engine,
                &[
                    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
                ],
                FindingState::Unknown,
            ),
            (
                RuntimeApi::Kubelet,
                &["HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"kind\": \"PodList\"}"],
                FindingState::Open,
            ),
            (
                RuntimeApi::Kubelet,
                &["HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"],
                FindingState::Closed,
            ),
        ];
        for (kind, answers, state) in rows {
            let target = answering(answers);
            let found = run(async { probe_api(probe(), target, kind).await });
            assert_eq!(found.state, state, "{answers:?}: {found:?}");
            assert_eq!(
                (found.check, found.remedy.is_some()),
                (SandboxCheck::RuntimeSocket, state != FindingState::Closed)
            );
        }
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let target = ProbeTarget::Tcp(closed.unwrap());
        let found = run(async { probe_api(probe(), target, RuntimeApi::Engine).await });
        assert_eq!(found.state, FindingState::Closed, "{found:?}");
    }

    #[test]
    fn an_abstract_socket_of_a_runtime_is_found_and_tried() {
        // F-266
        let name = format!("/containerd-shim/k8s.io/{}/shim.sock", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let shown = format!("unix:@{name}");
        let found = || runtime_sockets(Path::new("/proc/self/net"));
        let target = found()
            .into_iter()
            .find(|target| target.to_string() == shown);
        let target = target.unwrap_or_else(|| panic!("{shown} is not in {:?}", found()));
        std::thread::spawn(move || listener.accept().unwrap());
        let tried = run(async { probe_socket(probe(), target.clone()).await });
        assert_eq!(
            (tried.state, tried.target.as_str()),
            (FindingState::Open, shown.as_str())
        );
        // Its listener has been dropped.
        let tried = run(async { probe_socket(probe(), target).await });
        assert_eq!(tried.state, FindingState::Closed, "{tried:?}");
    }

    #[test]
    fn other_abstract_sockets_are_not_tried() {
        let folder = tempfile::tempdir().unwrap();
        let table = "0000: 00000002 00000000 00010000 0001 01     7 @/containerd-shim/a.sock@\n\
                     0000: 00000002 00000000 00010000 0001 01 8 @/tmp/.X11-unix/X0\n\
                     0000: 00000003 00000000 00000000 0001 03 9 @/containerd-shim/connected.sock\n\
                     0000: 00000002 00000000 00010000 0001 01 10 /run/containerd.sock\n";
        fs::write(folder.path().join("unix"), table).unwrap();
        let of_table = |folder: &Path| {
            runtime_sockets(folder).split_off(runtime_sockets(Path::new("/nowhere")).len())
        };
        let found: Vec<String> = of_table(folder.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["unix:@/containerd-shim/a.sock@"]);
    }
}
