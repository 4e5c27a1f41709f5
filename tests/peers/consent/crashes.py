"""Kills `egressd serve` at each step of a refresh in turn, while it rotates the refresh tokens of many
grants, and checks that no grant is lost that could have been kept.

- A lenient provider accepts a spent refresh token for 60 s. No grant is lost.
- A strict one ends a consent at the second use of a refresh token. A grant is lost only if the kill
  came after the provider's commit and before the end of the write. Each such grant ends in
  `needs_consent` with the reason `rotation_lost`, and is not requested again.

`--rounds N` kills N times at each step with the lenient provider, and half as often with the strict
one. strace kills before a system call on the files of one grant; the provider kills at the steps of
its request. Only root can trace a hardened process, so without root the process is not hardened.
"""

import argparse
import os
import random
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from loopback import World  # noqa: E402
from peers import Tally  # noqa: E402
from rotating import Holder, Provider, Store, until  # noqa: E402

RESERVED = 64 * 1024  # bytes that a refresh reserves
# What the store has for the grant whose step was interrupted.
OLD, BEHIND, COMPLETE, SAVED = "the old document", "a lost answer", "a complete pending file", "the new document"
# Step, system calls, the path of the grant's file, and what is left.
SYSTEM_CALLS = [
    ("before the lock", "flock", "{directory}/{grant}.lock", OLD),
    ("after the lock", "openat", "{grant}.json.pending", OLD),
    ("before the reservation", "fallocate", "{directory}/{grant}.json.pending", OLD),
    ("before the write", "write", "{directory}/{grant}.json.pending", BEHIND),
    ("inside the write", "ftruncate", "{directory}/{grant}.json.pending", BEHIND),
    ("before ftruncate", "ftruncate", "{directory}/{grant}.json.pending", COMPLETE),
    ("before fsync", "fsync", "{directory}/{grant}.json.pending", COMPLETE),
    ("before rename", "renameat,renameat2", "{grant}.json.pending", COMPLETE),
    ("before the fsync of the directory", "fsync", "{directory}", None),
    ("before the unlock", "flock", "{directory}/{grant}.json", SAVED),
]
REQUEST = [("after the request", "request"), ("after the commit", "commit"), ("after the answer", "answer")]


class Crashes:
    """One provider with its grants, and the kills."""

    def __init__(self, tally, world, name, grants, strict):
        self.tally, self.world, self.name = tally, world, name
        self.provider = Provider(world, strict)
        self.grants = [f"g{number:03}" for number in range(grants)]
        self.store = Store(world, self.provider, self.grants)
        for grant in self.grants:
            self.store.log_in(grant)
        self.kills = self.adopted = self.rotations = self.recovered = 0
        self.lost = self.interrupted = self.most_calls = 0
        self.behind = []  # grants whose newest refresh token is not in the store

    def start(self, via=()):
        flags = ("--hardening", "off") if via and os.geteuid() != 0 else ()
        return Holder(self.world, self.provider, self.grants, flags=flags, via=via)

    def steps(self):
        """Returns each step with the function that kills there."""
        for step in SYSTEM_CALLS:
            yield step[0], lambda step=step: self.kill_before_call(*step)
        yield "after the reservation", self.kill_after_reservation
        for step, stage in REQUEST:
            yield step, lambda stage=stage: self.kill_at_request(stage)
        yield "at any time", self.kill_at_any_time

    def target(self):
        """Returns a grant that the next process will refresh."""
        clean = [grant for grant in self.grants if grant not in self.behind and self.store.pending(grant) is None]
        return random.choice(clean)

    def kill_before_call(self, step, calls, path, left):
        grant = self.target()
        path = path.format(directory=self.store.directory, grant=grant)
        via = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path,
               "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL"]
        self.run(via)
        if step == "inside the write":
            self.tear(grant)
        if left is not None:
            found = self.left(grant)
            if found != left:
                self.tally.claim(f"a kill {step} leaves {left}", False, f"{found} of {grant}")

    def kill_after_reservation(self):
        grant = self.target()
        pending = self.store.path(grant, ".json.pending")
        via = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", pending,
               "-e", "trace=fallocate", "-e", "inject=fallocate:delay_exit=2000000"]

        def act(holder):
            until(lambda: pending.exists() and pending.stat().st_size == RESERVED, f"{grant} is reserved")
            holder.kill()

        self.run(via, act)
        if self.left(grant) != OLD:
            self.tally.claim("a kill after the reservation leaves the old document", False, self.left(grant))

    def kill_at_request(self, stage):
        delay = random.uniform(0, 0.01) if stage == "answer" else 0
        countdown = random.randint(1, len(self.grants) // 2)
        self.run(act=lambda holder: self.provider.kill_at(stage, countdown, holder.pid, delay), is_early=True)

    def kill_at_any_time(self):
        def act(holder):
            time.sleep(random.uniform(0, 0.5))
            holder.kill()

        self.run(act=act)

    def run(self, via=(), act=lambda _: None, is_early=False):
        """Starts egressd and requests every grant until the process is killed. `act` is called when
        the requests begin, or before them."""
        self.store.age()
        self.sequences = {grant: self.store.document(grant)["sequence"] for grant in self.grants}
        calls = {grant: self.provider.families[grant].calls for grant in self.grants}
        complete = [grant for grant in self.grants if self.store.pending(grant)]
        # Those whose answer was lost come first: the lenient provider is so only for a minute.
        order = self.behind + random.sample(rest := [g for g in self.grants if g not in self.behind], len(rest))
        before = self.rotated()
        holder = self.start(via)
        if is_early:
            act(holder)
        results = {}
        agents = threading.Thread(target=lambda: results.update(holder.get_all(order)))
        agents.start()
        if not is_early:
            act(holder)
        agents.join()
        if not holder.has_ended(1):
            self.tally.claim(f"{self.name}: the process is killed", False, f"{via}")
            holder.kill()
        holder.await_end()
        self.provider.settle()
        self.kills += 1
        self.rotations += self.rotated() - before
        wrong = {g: r for g, r in results.items() if r is not None and r[0] != 200}
        if wrong:
            self.tally.claim(f"{self.name}: requests are forwarded until the kill", False, wrong)
        for grant in complete:
            if results[grant] == (200, None):
                self.adopted += 1
                if self.provider.families[grant].calls != calls[grant]:
                    self.tally.claim("a complete pending file is adopted without a request", False, grant)
        self.behind = [grant for grant in self.grants if self.store.is_behind(grant)]

    def rotated(self):
        return sum(family.rotations for family in self.provider.families.values())

    def left(self, grant):
        """Returns what the store has for a grant after a kill."""
        if self.store.is_behind(grant):
            return BEHIND
        if self.store.pending(grant):
            return COMPLETE
        is_new = self.store.document(grant)["sequence"] > self.sequences[grant]
        return SAVED if is_new else OLD

    def tear(self, grant):
        """Leaves the state of a write that was interrupted at any byte: a kill cannot hit inside a
        single system call, but a file system can persist a part of it."""
        pending = self.store.path(grant, ".json.pending")
        content = pending.read_bytes()
        length = len(content.rstrip(b"\0"))
        cut = random.randrange(length)
        pending.write_bytes(content[:cut] + b"\0" * (len(content) - cut))
        if grant not in self.behind and self.store.is_behind(grant):
            self.behind.append(grant)


    def recover(self):
        """Lets the strict provider refuse the grants whose answer was lost, and checks how each of
        them ends. Then a person logs in again."""
        lost, self.behind = self.behind, []
        if not lost:
            return
        calls = {grant: self.provider.families[grant].calls for grant in lost}
        if random.random() < 0.3:
            # Killed once more, while the refusal is being confirmed.
            holder = self.start()
            threading.Timer(random.uniform(0.5, 4), holder.kill).start()
            holder.get_all(lost)
            holder.await_end()
            self.provider.settle()
            self.kills += 1
            self.interrupted += 1
        for first in (True, False):
            holder = self.start()
            results = holder.get_all(lost)
            if first:
                sent = {grant: self.provider.families[grant].calls for grant in lost}
                results |= holder.get_all(lost)
            holder.stop()
            self.provider.settle()
            wrong = {grant: result for grant, result in results.items() if result != (403, "consent_required")}
            reasons = {grant: self.store.document(grant).get("refused", {}).get("reason") for grant in lost}
            wrong |= {grant: reason for grant, reason in reasons.items() if reason != "rotation_lost"}
            if wrong:
                self.tally.claim("a lost grant needs a consent, because its rotation was lost", False, wrong)
        again = [grant for grant in lost if self.provider.families[grant].calls != sent[grant]]
        if again:
            self.tally.claim("nothing is sent after the refusal, also not after a restart", False, again)
        most = max(sent[grant] - calls[grant] for grant in lost)
        self.most_calls = max(self.most_calls, most)
        self.lost += len(lost)
        for grant in lost:
            self.store.log_in(grant)

    def end(self):
        """Requests every grant once more. Returns the number of those that are not forwarded."""
        self.store.age()
        holder = self.start()
        before = self.rotated()
        results = holder.get_all(self.grants)
        holder.stop()
        self.provider.settle()
        self.rotations += self.rotated() - before
        self.behind = [grant for grant in self.grants if self.store.is_behind(grant)]
        return {grant: result for grant, result in results.items() if result != (200, None)}


def judge_lenient(tally, grants, rounds):
    with World() as world:
        crashes = Crashes(tally, world, "lenient", grants, strict=False)
        for _ in range(rounds):
            for _, kill in crashes.steps():
                kill()
                crashes.recovered += len(crashes.behind)
        lost = crashes.end()
        provider = crashes.provider
        print(f"  lenient: {crashes.rotations} rotations, {crashes.kills} kills, {crashes.recovered} lost answers, "
              f"{provider.repeated} repetitions of a spent token, {crashes.adopted} pending files adopted, "
              f"{len(lost)} lost grants")
        tally.claim("with a lenient provider, no grant is lost", not lost and not crashes.behind, lost)
        tally.claim("it has refused nothing", provider.refused == provider.unknown == 0, (provider.refused, provider.unknown))
        return crashes.rotations


def judge_strict(tally, grants, rounds):
    with World() as world:
        crashes = Crashes(tally, world, "strict", grants, strict=True)
        for number in range(rounds):
            for _, kill in list(crashes.steps())[number % 2::2]:
                kill()
                crashes.recover()
        wrong = crashes.end()
        provider = crashes.provider
        print(f"  strict: {crashes.rotations} rotations, {crashes.kills} kills ({crashes.interrupted} of them during a "
              f"confirmation), {crashes.adopted} pending files adopted, {crashes.lost} grants lost, all between the "
              f"commit and the end of the write; at most {crashes.most_calls} requests for a lost grant")
        tally.claim("with a strict provider, every other grant is kept", not wrong and not crashes.behind, wrong)
        tally.claim("a lost grant is requested twice, or once more for a kill meanwhile", crashes.most_calls <= 3, crashes.most_calls)
        return crashes.rotations


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--grants", type=int, default=30)
    options.add_argument("--seed", type=int, default=time.time_ns())
    options = options.parse_args()
    random.seed(options.seed)
    print(f"  seed {options.seed}")
    tally = Tally()
    rotations = judge_lenient(tally, options.grants, options.rounds)
    rotations += judge_strict(tally, options.grants, options.rounds)
    tally.claim("tokens were rotated", rotations > 0, rotations)
    for failure in tally.failures:
        print(f"FAILED {failure}")
    print(f"{rotations} rotations; {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
