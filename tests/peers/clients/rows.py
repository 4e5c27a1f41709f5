"""The clients, in the order of the table in docs/clients.md."""

from dataclasses import dataclass

COLUMNS = (
    "client", "version", "request", "stream", "upload", "a refusal shows", "requests for a refusal", "429, then 200",
    "requests for 503", "cut response",
)


@dataclass(frozen=True)
class Group:
    """A section of the page."""

    title: str
    columns: tuple = COLUMNS


HTTP = Group("HTTP libraries and programs")
MODELS = Group("Models and agents")
SERVICES = Group("Services")
TOOLS = Group("Tools")
OWN = Group("The MCP server of egressd", ("client", "version", "calls a tool", "a refusal shows", "a list of 10,000 tools"))
GROUPS = [HTTP, MODELS, SERVICES, TOOLS, OWN]


@dataclass(frozen=True)
class Row:
    """A client. `script` is relative to this directory; its lines between `docs` and `end` are
    shown in the documentation."""

    name: str
    title: str
    group: Group
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
    # Routes of a client that takes no base path, so that its paths begin with no case.
    routes: tuple = ()
    # The virtual environment of a client in Python.
    venv: str = "python"
    # A sentence in the documentation, after the lines.
    note: str = ""
    # A limit against a client that hangs. A busy machine needs several times the usual ten seconds.
    seconds: int = 240


ROWS = [
    Row("curl", "curl", HTTP, "shell/curl.sh", version=("curl", "--version")),
    Row("requests", "requests (Python)", HTTP, "python/with_requests.py", package="requests"),
    Row("httpx", "httpx (Python)", HTTP, "python/with_httpx.py", package="httpx"),
    Row("aiohttp", "aiohttp (Python)", HTTP, "python/with_aiohttp.py", package="aiohttp"),
    Row("fetch", "fetch (Node)", HTTP, "node/with_fetch.mjs", version=("node", "--version")),
    Row("undici", "undici (Node)", HTTP, "node/with_undici.mjs", package="undici"),
    Row("axios", "axios (Node)", HTTP, "node/with_axios.mjs", package="axios",
        note="`error.response.data` is the document of the refusal."),
    Row("java", "java.net.http (Java)", HTTP, "java/Client.java", version=("java", "--version"), fast=False),
    Row("go", "net/http (Go)", HTTP, "go/main.go", version=("go", "version"), fast=False),
    Row("ruby", "Net::HTTP (Ruby)", HTTP, "ruby/client.rb", version=("ruby", "--version"), fast=False),
    Row("php", "curl (PHP)", HTTP, "php/client.php", version=("php", "--version"), fast=False),
    Row("openai-python", "OpenAI (Python)", MODELS, "python/with_openai.py", "openai", "openai", sdk=True),
    Row("openai-node", "OpenAI (JavaScript)", MODELS, "node/with_openai.mjs", "openai", "openai", sdk=True),
    Row("anthropic-python", "Anthropic (Python)", MODELS, "python/with_anthropic.py", "anthropic", "anthropic", sdk=True),
    Row("anthropic-node", "Anthropic (JavaScript)", MODELS, "node/with_anthropic.mjs", "anthropic", "@anthropic-ai/sdk",
        sdk=True),
    Row("claude-agent-sdk", "Claude Agent SDK (Python)", MODELS, "python/with_claude_agent.py", "anthropic",
        "claude-agent-sdk", fast=False, sdk=True,
        note="The run sets `CLAUDE_CODE_MAX_RETRIES` to 2; the default is 10."),
    Row("openai-agents", "OpenAI Agents SDK (Python)", MODELS, "python/with_openai_agents.py", "openai", "openai-agents",
        fast=False, sdk=True),
    Row("langchain", "LangChain and LangGraph (Python)", MODELS, "python/with_langchain.py", "openai", "langchain",
        fast=False, sdk=True),
    Row("litellm", "LiteLLM (Python)", MODELS, "python/with_litellm.py", "openai", "litellm", fast=False, sdk=True),
    Row("crewai", "CrewAI (Python)", MODELS, "python/with_crewai.py", "openai", "crewai", fast=False, sdk=True, venv="crewai"),
    Row("vercel-ai", "Vercel AI SDK (JavaScript)", MODELS, "node/with_vercel.mjs", "openai", "ai", sdk=True,
        note="`maxRetries: 0` in the call turns retries off."),
    Row("mcp-python", "MCP SDK (Python)", MODELS, "python/with_mcp.py", "mcp", "mcp",
        note="The client first probes the server for a newer revision of the protocol, so it sends two requests. Its error "
        "contains no part of a refusal; the access log of egressd has the code, and `curl -i` shows the document."),
    Row("mcp-node", "MCP SDK (TypeScript)", MODELS, "node/with_mcp.mjs", "mcp", "@modelcontextprotocol/sdk"),
    Row("octokit", "Octokit (JavaScript)", SERVICES, "node/with_octokit.mjs", "github", "@octokit/rest", sdk=True, mounted=True,
        routes=("/repos/{path...}",),
        note="Octokit ignores a body that ends too early."),
    Row("pygithub", "PyGithub (Python)", SERVICES, "python/with_pygithub.py", "github", "PyGithub", sdk=True, mounted=True,
        routes=("/repos/{path...}",),
        note="`retry=None` turns retries off. Objects contain URLs of the API, which PyGithub does not accept with this base "
        "URL. Objects that are created with `lazy=True` contain none."),
    Row("stripe-python", "stripe (Python)", SERVICES, "python/with_stripe.py", "stripe", "stripe", sdk=True),
    Row("stripe-node", "stripe (Node)", SERVICES, "node/with_stripe.mjs", "stripe", "stripe", sdk=True, mounted=True,
        routes=("/v1/customers/{id}",),
        note="`maxNetworkRetries: 0` turns retries off."),
    Row("slack", "slack_sdk (Python)", SERVICES, "python/with_slack.py", "slack", "slack_sdk", sdk=True),
    Row("databricks", "databricks-sdk (Python)", SERVICES, "python/with_databricks.py", "databricks", "databricks-sdk",
        fast=False, sdk=True,
        mounted=True, routes=("/api/2.1/clusters/get", "/api/2.0/fs/files/{path...}"),
        note="The client retries requests that are answered with 503 until `retry_timeout_seconds`, by default 300."),
    Row("notion-python", "notion-client (Python)", SERVICES, "python/with_notion.py", "notion", "notion-client", sdk=True,
        note="`error.body` is the document of the refusal."),
    Row("notion-node", "Notion (JavaScript)", SERVICES, "node/with_notion.mjs", "notion", "@notionhq/client", sdk=True,
        note="`error.body` is the document of the refusal."),
    Row("gql", "gql (Python)", SERVICES, "python/with_gql.py", "graphql", "gql", sdk=True),
    Row("git", "git", TOOLS, "shell/git.sh", "git", version=("git", "--version"), fast=False,
        note="With `GIT_CURL_VERBOSE=1`, git shows the headers of a refusal, which have its code."),
    Row("npm", "npm", TOOLS, "shell/npm.sh", "npm", version=("npm", "--version"),
        note="`npm config set fetch-retries 0` turns retries off."),
    Row("pip", "pip", TOOLS, "shell/pip.sh", "pypi", version=("{clients}/python/bin/python", "-m", "pip", "--version"),
        note="With `-vv`, pip shows the status and the code of a refusal."),
    Row("own-mcp-python", "MCP SDK (Python), as client of `/mcp`", OWN, "python/own_mcp.py", package="mcp", fast=False),
    Row("own-mcp-node", "MCP SDK (TypeScript), as client of `/mcp`", OWN, "node/own_mcp.mjs",
        package="@modelcontextprotocol/sdk", fast=False),
    Row("own-openai-agents", "OpenAI Agents SDK (Python), as client of `/mcp`", OWN, "python/own_openai_agents.py", "openai",
        "openai-agents", fast=False),
    Row("own-claude-agent-sdk", "Claude Agent SDK (Python), as client of `/mcp`", OWN, "python/own_claude_agent.py",
        "anthropic", "claude-agent-sdk", fast=False),
]
