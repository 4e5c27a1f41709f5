"""Runs the cases of a client and prints each result as one line: `case`, the name, `returned` or
`raised`, and the text, separated by tabs.

A case is a function that gets the base URL of its connection. It returns what the client showed, or
raises the client's exception.
"""

import asyncio
import inspect
import os

BASE = os.environ["BASE"]
KEY = os.environ["AGENTS_KEY"]
SIZE = 100_000


def show(case, how, text):
    """Prints one result."""
    print("case", case, how, " ".join(str(text).split()), sep="\t", flush=True)


def outcome(function, base):
    """Returns how a function ended, and with which text."""
    try:
        result = function(base)
        return "returned", asyncio.run(result) if inspect.isawaitable(result) else result
    except Exception as error:  # every exception of a client is a result
        return "raised", described(error)


def described(error):
    """Returns the texts of an exception and of the exceptions that it groups."""
    grouped = getattr(error, "exceptions", ())
    return f"{type(error).__name__}: {error}" + "".join(f" {described(one)}" for one in grouped)


def run(**functions):
    """Runs the cases in their order."""
    for case, function in functions.items():
        show(case, *outcome(function, f"{BASE}/{case}"))
