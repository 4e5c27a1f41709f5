"""The scripts of `egressd generate completions` in their shells, and its manual pages in `man`.

Only bash is needed: a shell or a `man` that is not installed is skipped, and a line reports that.
bash also runs its script and completes command lines. elvish cannot check a script for completions
without a terminal, and PowerShell is not a package of Debian.
"""

import shutil
import subprocess
import sys

from loopback import World, egressd_binary
from peers import Tally

# The program, and the arguments before the script with which it parses a script without running it.
PARSERS = {
    "bash": ["bash", "--norc", "-n"],
    "zsh": ["zsh", "-f", "-n"],
    "fish": ["fish", "--no-config", "--no-execute"],
    "nushell": ["nu", "--no-config-file", "--ide-check", "100"],
}
# Prints what bash would offer after the words.
OFFER = """
set -u
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_egressd "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
OFFERS = {
    ("egressd", "heal"): "healthcheck",
    ("egressd", "generate", "m"): "man",
    ("egressd", "generate", "completions", "nu"): "nushell",
    ("egressd", "serve", "--hard"): "--hardening",
    ("egressd", "check", "--format", "j"): "json",
}


def run(argv, **options):
    """Runs a command. Returns its exit code and all that it wrote."""
    done = subprocess.run([*map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60, **options)
    return done.returncode, done.stdout


def judge_scripts(world, tally, egressd):
    """Each installed shell parses its script without a message."""
    for shell, parser in PARSERS.items():
        if not shutil.which(parser[0]):
            print(f"# skipped: {parser[0]} is not installed")
            continue
        code, script = run([egressd, "generate", "completions", shell])
        path = world.file(f"egressd.{shell}", script)
        code, said = run([*parser, path])
        # nushell always exits with 0 and prints what it found, types too.
        silent = '"severity":"Error"' not in said if shell == "nushell" else not said.strip()
        tally.claim(f"{shell} parses its script", code == 0 and silent, f"{code}: {said}")


def judge_bash(world, tally):
    """bash offers what completes the last word."""
    offer = world.file("offer.sh", OFFER)
    for words, wanted in OFFERS.items():
        _, said = run(["bash", "--norc", offer, world.directory / "egressd.bash", *words])
        tally.claim(f"bash completes `{' '.join(words)}`", wanted in said.split(), said)


def judge_manual(world, tally, egressd):
    """`man` formats each page without a warning, and the page names the command."""
    if not shutil.which("man") or not shutil.which("groff"):
        print("# skipped: man or groff is not installed")
        return
    pages = world.directory / "man1"
    run([egressd, "generate", "man", pages])
    for page in sorted(pages.iterdir()):
        code, said = run(["man", "--warnings", "--local-file", page], env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
        wrong = code != 0 or "warning:" in said or "egressd" not in said.lower()
        tally.claim(f"man shows {page.name}", not wrong, f"{code}: {said[:500]}")


def main():
    tally, egressd = Tally(), egressd_binary("debug")
    with World() as world:
        judge_scripts(world, tally, egressd)
        judge_bash(world, tally)
        judge_manual(world, tally, egressd)
    print(f"completions: {tally.passed} passed, {len(tally.failures)} failed")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
