"""The world of a run: the upstream, and one measurement at a time."""

import http.client
import ssl
import statistics
import time

import loads
from targets import SECRET, TARGETS, Job, upstream
from table import PREFIX


class Queries:
    """Queries of the counts of an upstream, over a keep-alive socket, so that they are fast."""

    def __init__(self, port, ca):
        tls = ssl.create_default_context(cafile=str(ca))
        self.client = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=30)
        self.sockets = self.requests = 0

    def counts(self):
        """Returns the accepted sockets and the requests so far, without those of the queries."""
        self.sockets += self.client.sock is None  # http.client connects again if the upstream closed
        self.requests += 1
        self.client.request("GET", "/sockets", headers={"Authorization": f"Bearer {SECRET}"})
        accepted, _, requests = map(int, self.client.getresponse().read().split(b"\n")[2].split())
        return accepted - self.sockets, requests - self.requests


class Bench:
    """The world with its upstream, which runs one measurement at a time."""

    def __init__(self, world, options):
        self.world, self.options = world, options
        self.ca, self.leaf, self.key = world.certificates()
        self.closing = {}  # requests for each socket → port
        self.queries = {}  # port → `Queries` of an upstream
        self.upstream_port = self.start_upstream()

    def start_upstream(self, **parameters):
        """Starts an upstream and returns its port."""
        port = self.world.port()
        process = self.world.start(f"upstream-{port}", upstream(self.world, port, self.leaf, self.key, **parameters))
        process.await_port(port)
        return port

    def job(self, workers, single_process=False, upstream_port=None):
        return Job(self.world, upstream_port or self.upstream_port, self.ca, self.world.port(), workers, single_process)

    def start(self, target, workers):
        """Returns a fresh, listening target and its port."""
        job = self.job(workers)
        return self.world.start(f"{target}-{job.port}", TARGETS[target](job)).await_port(job.port), job.port

    def closing_upstream(self, requests_per_socket):
        """Returns the port of an upstream that closes a socket after this number of requests."""
        if requests_per_socket not in self.closing:
            self.closing[requests_per_socket] = self.start_upstream(requests_per_socket=requests_per_socket)
        return self.closing[requests_per_socket]

    def upstream_counts(self, port=None):
        """Returns the sockets and the requests that an upstream has accepted so far, without those
        of these queries."""
        port = port or self.upstream_port
        if port not in self.queries:
            self.queries[port] = Queries(port, self.ca)
        return self.queries[port].counts()

    def verify(self, target):
        """Checks that the target does the whole job before anything is measured."""
        process, port = self.start(target, 1)
        try:
            loads.verify(target, port)
        except Exception as error:
            raise RuntimeError(f"{error}\n{process.said()}") from error
        self.world.stop(process)

    def measure(self, workload, target):
        """Runs one workload on one fresh process. Returns metric → value."""
        if workload.kind == "spawn":
            return {"first_byte_ms": statistics.median(self.spawn(target, workload) for _ in range(3))}
        process, port = self.start(target, workload.workers)
        if workload.kind == "idle":
            result = self.idle(process, port, workload)
        else:
            if self.options.warm_up:
                self.drive(workload, port, self.options.warm_up)
            # wrk ends in the middle of responses, which closes upstream sockets. Complete responses
            # fill the pool again.
            loads.exactly(port, PREFIX + "/items/1k", workload.sockets, workload.sockets * 4)
            before, cpu = self.upstream_counts()[0], process.cpu_ns()
            got = self.drive(workload, port, self.options.seconds)
            cpu = process.cpu_ns() - cpu
            if got["errors"] or not got["requests"]:
                raise RuntimeError(f"{target}, {workload.name}: {got}\n{process.said()}")
            result = {
                "cpu_us": cpu / got["requests"] / 1000,
                "rps": got["requests"] / got["seconds"],
                "p99_us": got["p99_us"],
                "requests": got["requests"],
                "new_upstream_sockets": self.upstream_counts()[0] - before,
            }
        self.world.stop(process)
        return result

    def drive(self, workload, port, seconds):
        if workload.kind == "paced":
            return loads.paced(port, workload.path, workload.sockets, seconds, 2000)
        return loads.wrk(port, workload.path, workload.sockets, seconds, workload.post_bytes)

    def spawn(self, target, workload):
        job = self.job(1)
        argv = TARGETS[target](job)
        started = time.perf_counter()
        process = self.world.start(f"{target}-{job.port}", argv)
        taken = loads.first_byte(process, job.port, workload.path, started)
        self.world.stop(process)
        return taken * 1000

    def idle(self, process, port, workload):
        for one in loads.idle_sockets(port, workload.path, 1):
            one.socket.close()
        time.sleep(self.options.settle)
        rest = process.rss_kib()
        held = loads.idle_sockets(port, workload.path, self.options.idle_sockets)
        time.sleep(self.options.settle)
        full = process.rss_kib()
        for one in held:
            one.socket.close()
        return {"idle_mib": rest / 1024, "held_mib": full / 1024, "socket_kib": (full - rest) / len(held)}
