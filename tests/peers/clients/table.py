"""The page docs/clients.md: the results of a run as Markdown, and the comparison with the
committed page."""

import re
import textwrap
from pathlib import Path

from rows import COLUMNS, GROUPS, ROWS

HERE = Path(__file__).resolve().parent
LANGUAGES = {".py": "python", ".mjs": "javascript", ".sh": "sh,clients", ".java": "java", ".go": "go", ".rb": "ruby", ".php": "php"}


def lines_of(row):
    """Returns the lines of a script between its marks `docs` and `end`, without indentation."""
    found, inside = [], False
    for line in (HERE / row.script).read_text().splitlines():
        word = line.strip().lstrip("#/ ").strip()
        if word == "docs":
            inside = True
        elif word == "end":
            inside = False
        elif inside:
            found.append(line)
    indent = min((len(line) - len(line.lstrip()) for line in found if line.strip()), default=0)
    return "\n".join(line[indent:] for line in found)


def cells_of(page):
    """Returns the cells of each client in a page, by title."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    lengths = {row.title: len(row.group.columns) for row in ROWS}
    return {row[0]: row for row in rows if lengths.get(row[0]) == len(row)}


def differences(page, results):
    """Returns how the results differ from a page. The version of a program that is not pinned does
    not matter."""
    committed, found = cells_of(page), []
    for row, cells in results.items():
        old = committed.get(row.title)
        if old is None:
            found.append(f"{row.title}: docs/clients.md does not have this client")
            continue
        for column, before, now in zip(row.group.columns, old, cells, strict=True):
            if before != now and (column != "version" or row.package):
                found.append(f"{row.title}: {column}: `{now}` instead of `{before}`")
    return found


def markdown(results):
    """Returns the page for the results of all clients."""
    sdks = [row for row in ROWS if row.sdk]
    shown = COLUMNS.index("a refusal shows")
    with_detail = [row for row in sdks if results[row][shown].startswith(("message", "403: message"))]
    counts = f"{len(with_detail)} of {len(sdks)} SDKs show the `detail` of a refused request in the text of their exception."
    parts = [re.sub(r"COUNTS", counts, (HERE / "introduction.md").read_text().rstrip("\n"))]
    for group in GROUPS:
        rows = [row for row in ROWS if row.group == group]
        if not rows:
            continue
        parts.append(f"## {group.title}")
        table = [group.columns, ["---"] * len(group.columns), *(results[row] for row in rows)]
        parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in table))
        for row in rows:
            note = ", on a listener that mounts its connection" if row.mounted else ""
            parts.append(f"{row.title}{note}:")
            parts.append(f"```{LANGUAGES[Path(row.script).suffix]}\n{lines_of(row)}\n```")
            if row.note:
                parts.append(textwrap.fill(row.note, 100, break_on_hyphens=False))
    return "\n\n".join(parts) + "\n"
