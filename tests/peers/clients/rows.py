"""The clients, in the order of the table in docs/clients.md."""

from dataclasses import dataclass

HTTP = ("http", "HTTP libraries and programs")
MODELS = ("models", "Models and agents")
SERVICES = ("services", "Services")
TOOLS = ("tools", "Tools")
GROUPS = [HTTP, MODELS, SERVICES, TOOLS]


@dataclass(frozen=True)
class Row:
    """A client. `script` is relative to this directory; its lines between `docs` and `end` are
    shown in the documentation."""

    name: str
    title: str
    group: tuple
    script: str
    api: str = "plain"
    # A package of `python` or `node`, or `None` for a program that prints its own version.
    package: str | None = None
    version: tuple = ()
    # Whether `run --fast` runs the client, and whether the client is a software development kit.
    fast: bool = True
    sdk: bool = False
    # Whether the client needs a listener on which its connection is mounted at the root.
    mounted: bool = False
    # The virtual environment of a client in Python.
    venv: str = "python"
    seconds: int = 90


ROWS = [
    Row("curl", "curl", HTTP, "shell/curl.sh", version=("curl", "--version")),
    Row("requests", "requests (Python)", HTTP, "python/with_requests.py", package="requests"),
    Row("httpx", "httpx (Python)", HTTP, "python/with_httpx.py", package="httpx"),
    Row("aiohttp", "aiohttp (Python)", HTTP, "python/with_aiohttp.py", package="aiohttp"),
    Row("openai-python", "OpenAI (Python)", MODELS, "python/with_openai.py", "openai", "openai", sdk=True),
    Row("anthropic-python", "Anthropic (Python)", MODELS, "python/with_anthropic.py", "anthropic", "anthropic", sdk=True),
]
