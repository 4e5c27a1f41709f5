"""Imitations of the APIs that the clients expect. Each is a function from a request to (status,
header fields, content); content that is a list is sent in pieces.

The models of OpenAI and Anthropic answer `one two three`. If the last message of the user is
`call NAME {ARGUMENTS}` and the request offers this tool, they call it and then answer with its
result.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass

WORDS = ["one", " two", " three"]
PROJECT = "pong"


@dataclass
class Request:
    """A request, without the case in its path. `prefix` is the URL in front of the path."""

    method: str
    path: str
    query: dict
    headers: object
    body: bytes
    prefix: str

    def json(self):
        """Returns the body as JSON, or an empty object."""
        return json.loads(self.body) if self.body else {}


def reply(value, status=200, **fields):
    """Returns a JSON response."""
    return status, {name.replace("_", "-"): text for name, text in fields.items()}, json.dumps(value).encode()


def not_found(request):
    """Returns the response to a request that the imitation does not have."""
    return reply({"error": {"message": f"the imitation has no {request.method} {request.path}", "type": "not_found"}}, 404)


def events(values, named=False):
    """Returns a `text/event-stream` response with one piece for each event."""
    pieces = []
    for value in values:
        data = value if isinstance(value, str) else json.dumps(value)
        name = f"event: {value['type']}\n" if named else ""
        pieces.append(f"{name}data: {data}\n\n".encode())
    return 200, {"Content-Type": "text/event-stream"}, pieces


def failure(api, text):
    """Returns the body of an error as this API writes it."""
    if api == "anthropic":
        return json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": text}}).encode()
    if api == "slack":
        return json.dumps({"ok": False, "error": text}).encode()
    return json.dumps({"message": text, "error": {"message": text, "type": "imitation", "code": "imitation"}}).encode()


def received_file(request):
    """Returns the length of the file in a multipart body, or of the body."""
    content_type = request.headers.get("Content-Type", "")
    found = re.search(r'boundary="?([^";]+)', content_type)
    if not found:
        return len(request.body)
    parts = request.body.split(b"--" + found[1].encode())
    files = [part.partition(b"\r\n\r\n")[2] for part in parts if b"filename" in part.partition(b"\r\n\r\n")[0]]
    return len(files[0].removesuffix(b"\r\n")) if files else 0


def plain(request):
    """An API for HTTP libraries."""
    if request.path == "/item":
        return reply({"answer": "pong"})
    if request.path == "/events":
        return events(["one", "two", "three", "end"])
    if request.path == "/upload":
        return reply({"bytes": received_file(request)})
    return not_found(request)


def wanted_call(text, tools):
    """Returns the name and arguments of the tool that the user's text names, if it is offered."""
    found = re.search(r"call (\S+) (\{.*?\})", text)
    return (found[1], found[2]) if found and found[1] in tools else None


def text_of(content):
    """Returns the text of a message's content, which is a text or a list of blocks."""
    if isinstance(content, str):
        return content
    return " ".join(text_of(block.get("text") or block.get("content") or block.get("output") or "") for block in content or [])


def openai(request):
    """OpenAI: chat completions, responses, files."""
    if request.path == "/v1/models":
        return reply({"object": "list", "data": [{"id": "imitation", "object": "model", "created": 1, "owned_by": "x"}]})
    if request.path == "/v1/files":
        return reply({"id": "file-1", "object": "file", "bytes": received_file(request), "created_at": 1,
                      "filename": "f", "purpose": "assistants", "status": "processed"})
    if request.path == "/v1/chat/completions":
        return chat_completion(request.json())
    if request.path == "/v1/responses":
        return response(request.json())
    return not_found(request)


def chat_completion(asked):
    """Answers `POST /v1/chat/completions`."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "imitation", "system_fingerprint": "x"}
    usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    tools = [tool["function"]["name"] for tool in asked.get("tools") or []]
    last = asked["messages"][-1]
    users = [message for message in asked["messages"] if message["role"] == "user"]
    call = wanted_call(text_of(users[-1]["content"]), tools) if users and last["role"] != "tool" else None
    text = f"the tool returned {text_of(last['content'])}" if last["role"] == "tool" else "".join(WORDS)
    if not asked.get("stream"):
        message = {"role": "assistant", "content": text}
        if call:
            function = {"name": call[0], "arguments": call[1]}
            message = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if call else "stop"}
        return reply({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def chunk(delta, reason=None):
        return {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    words = WORDS if last["role"] != "tool" else [text]
    deltas = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words), chunk({}, "stop")]
    if call:
        part = {"index": 0, "id": "call_1", "type": "function", "function": {"name": call[0], "arguments": call[1]}}
        deltas = [chunk({"role": "assistant", "tool_calls": [part]}), chunk({}, "tool_calls")]
    return events([*deltas, {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}, "[DONE]"])


def response(asked):
    """Answers `POST /v1/responses`."""
    given = asked["input"] if isinstance(asked["input"], list) else [{"role": "user", "content": asked["input"]}]
    tools = [tool.get("name", "") for tool in asked.get("tools") or []]
    last = given[-1]
    users = [item for item in given if item.get("role") == "user"]
    is_result = last.get("type") == "function_call_output"
    call = wanted_call(text_of(users[-1]["content"]), tools) if users and not is_result else None
    words = [f"the tool returned {text_of(last['output'])}"] if is_result else WORDS
    part = {"type": "output_text", "text": "".join(words), "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    if call:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": call[0], "arguments": call[1], "status": "completed"}
    usage = {"input_tokens": 1, "output_tokens": 3, "total_tokens": 4,
             "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "imitation", "status": "completed",
             "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
             "incomplete_details": None, "instructions": None, "metadata": {}, "temperature": 1, "top_p": 1, "usage": usage}
    if not asked.get("stream"):
        return reply(whole)
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    middle = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **where, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
    ]
    if call:
        middle = [
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": "", "status": "in_progress"}},
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": call[1]},
            {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 0, "arguments": call[1], "name": call[0]},
        ]
    sent = [
        {"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}, *middle,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return events([{**event, "sequence_number": number} for number, event in enumerate(sent)], named=True)


def anthropic(request):
    """Anthropic: messages and files."""
    if request.path == "/v1/files":
        return reply({"id": "file_1", "type": "file", "filename": "f", "mime_type": "text/plain",
                      "size_bytes": received_file(request), "created_at": "2026-01-01T00:00:00Z", "downloadable": False})
    if request.path == "/v1/messages/count_tokens":
        return reply({"input_tokens": 10})
    if request.path == "/v1/messages":
        return message(request.json())
    return not_found(request)


def message(asked):
    """Answers `POST /v1/messages`."""
    tools = [tool.get("name", "") for tool in asked.get("tools") or []]
    content = asked["messages"][-1]["content"]
    results = [block for block in content if block["type"] == "tool_result"] if isinstance(content, list) else []
    call = None if results else wanted_call(text_of(content), tools)
    words = [f"the tool returned {text_of(results[0]['content'])}"] if results else WORDS
    usage = {"input_tokens": 1, "output_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    block = {"type": "text", "text": "".join(words)}
    if call:
        block = {"type": "tool_use", "id": "toolu_1", "name": call[0], "input": json.loads(call[1])}
    reason = "tool_use" if call else "end_turn"
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked.get("model", "imitation"), "content": [block],
             "stop_reason": reason, "stop_sequence": None, "usage": usage}
    if not asked.get("stream"):
        return reply(whole)
    deltas = [{"type": "text_delta", "text": word} for word in words]
    if call:
        deltas = [{"type": "input_json_delta", "partial_json": call[1]}]
    return events([
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}} if call else {**block, "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ], named=True)


def github(request):
    """GitHub: a repository, its issues on three pages, and a file."""
    repository = {"id": 1, "name": PROJECT, "full_name": f"agent/{PROJECT}", "url": f"{request.prefix}/repos/agent/{PROJECT}",
                  "owner": {"login": "agent", "id": 1}, "private": False}
    if request.path == f"/repos/agent/{PROJECT}":
        return reply(repository)
    if request.path == f"/repos/agent/{PROJECT}/issues":
        page = int(request.query.get("page", 1))
        link = f'<{request.prefix}/repos/agent/{PROJECT}/issues?page={page + 1}>; rel="next"' if page < 3 else ""
        issue = {"id": page, "number": page, "title": ["", "one", "two", "three"][page], "url": f"{request.prefix}/x"}
        return reply([issue], **({"Link": link} if link else {}))
    if request.path == f"/repos/agent/{PROJECT}/contents/file" and request.method == "PUT":
        size = len(base64.b64decode(request.json()["content"]))
        content = {"name": "file", "path": "file", "sha": "a" * 40, "size": size, "type": "file"}
        return reply({"content": content, "commit": {"sha": "b" * 40, "message": "m"}}, 201)
    return not_found(request)


def stripe(request):
    """Stripe: customers, refunds and files."""
    if request.path.startswith("/v1/customers/"):
        return reply({"id": request.path.rsplit("/", 1)[1], "object": "customer", "name": "pong"})
    if request.path == "/v1/refunds":
        return reply({"id": "re_1", "object": "refund", "status": "succeeded"})
    if request.path == "/v1/files":
        return reply({"id": "file_1", "object": "file", "size": received_file(request)})
    return not_found(request)


def slack(request):
    """Slack: messages."""
    if request.path == "/api/chat.postMessage":
        return reply({"ok": True, "channel": "C1", "ts": "1.0", "message": {"text": "pong"}})
    return not_found(request)


def notion(request):
    """Notion: pages and file uploads."""
    if request.path == "/v1/users/me":
        return reply({"object": "user", "id": "1", "name": "pong", "type": "bot"})
    if request.path == "/v1/file_uploads/1/send":
        return reply({"object": "file_upload", "id": "1", "content_length": received_file(request)})
    return not_found(request)


def databricks(request):
    """Databricks: the current user, and a file."""
    if request.path.startswith("/api/2.0/fs/files/"):
        return (204, {}, b"") if request.method == "PUT" else (200, {"Content-Type": "text/plain"}, b"pong")
    if re.fullmatch(r"/api/2\.\d/clusters/get", request.path):
        return reply({"cluster_id": "1", "cluster_name": "pong"})
    return not_found(request)


def graphql(request):
    """A GraphQL API that does not parse its queries."""
    if request.path == "/graphql":
        asked = request.json()
        return reply({"data": {"ping": "pong", "bytes": len((asked.get("variables") or {}).get("text", ""))}})
    return not_found(request)


def mcp(request):
    """An MCP server over streamable HTTP with one tool."""
    if request.path != "/mcp":
        return not_found(request)
    if request.method != "POST":
        return 405, {"Allow": "POST"}, b""
    asked = request.json()
    if "id" not in asked:
        return 202, {}, b""
    parameters = asked.get("params") or {}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    text = (parameters.get("arguments") or {}).get("text", "")
    results = {
        "initialize": {"protocolVersion": parameters.get("protocolVersion"), "capabilities": {"tools": {}},
                       "serverInfo": {"name": "imitation", "version": "1"}},
        "ping": {},
        "tools/list": {"tools": [{"name": "ping", "description": "Returns pong.", "inputSchema": schema}]},
        "tools/call": {"content": [{"type": "text", "text": str(len(text)) if len(text) > 10 else "pong"}]},
    }
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] not in results:
        return reply({**answer, "error": {"code": -32601, "message": "method not found"}})
    answer["result"] = results[asked["method"]]
    if asked["method"] == "tools/call" and text == "stream":
        progress = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "one"}}
        return events([progress, progress, answer])
    return reply(answer)


def npm(request):
    """A package registry with one package."""
    metadata = {"name": PROJECT, "version": "1.0.0"}
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo("package/package.json")
            content = json.dumps(metadata).encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        tarball = gzip.compress(packed.getvalue(), mtime=0)
    if request.path == f"/{PROJECT}" and request.method == "PUT":
        attached = next(iter(request.json()["_attachments"].values()))
        return reply({"ok": True, "bytes": attached["length"]}, 201)
    if request.path == f"/{PROJECT}":
        digest = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        version = {**metadata, "dist": {"tarball": f"{request.prefix}/{PROJECT}/-/{PROJECT}-1.0.0.tgz", "integrity": digest}}
        return reply({"name": PROJECT, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}})
    if request.path.endswith(".tgz"):
        return 200, {"Content-Type": "application/octet-stream"}, tarball
    return not_found(request)


def pypi(request):
    """A package index with one wheel."""
    wheel = f"{PROJECT}-1.0-py3-none-any.whl"
    if request.path == f"/simple/{PROJECT}/":
        page = f'<!DOCTYPE html><html><body><a href="../../files/{wheel}">{wheel}</a></body></html>'
        return 200, {"Content-Type": "text/html"}, page.encode()
    if request.path == f"/files/{wheel}":
        with io.BytesIO() as packed:
            with zipfile.ZipFile(packed, "w") as archive:
                information = f"{PROJECT}-1.0.dist-info"
                archive.writestr(f"{PROJECT}.py", "")
                archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: 1.0\n")
                archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                archive.writestr(f"{information}/RECORD", "")
            return 200, {"Content-Type": "application/octet-stream"}, packed.getvalue()
    return not_found(request)


GIT = {"root": None}


def create_repository(root):
    """Creates the repository of the git server, with one file in one commit."""
    GIT["root"], bare, work = root, root / f"{PROJECT}.git", root / "work"
    author = ["-c", "user.name=upstream", "-c", "user.email=upstream@localhost"]
    for arguments in (
        ["init", "-q", "--bare", "-b", "main", bare], ["init", "-q", "-b", "main", work], ["-C", work, "add", "."],
        [*author, "-C", work, "commit", "-q", "-m", "first"], ["-C", work, "push", "-q", bare, "main"],
        ["-C", bare, "config", "http.receivepack", "true"],
    ):
        if "add" in arguments:
            (work / "file").write_text(f"{PROJECT}\n")
        subprocess.run(["git", *map(str, arguments)], check=True)


def git(request):
    """A git server: `git http-backend`, which Debian's git contains."""
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    environment = {
        **os.environ, "GIT_PROJECT_ROOT": str(GIT["root"]), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "agent",
        "REQUEST_METHOD": request.method, "PATH_INFO": request.path, "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(request.body)),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
    }
    done = subprocess.run(["git", "http-backend"], input=request.body, env=environment, capture_output=True, timeout=30)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(fields.pop("Status", "200").split()[0])
    return status, fields, [content[i:i + 100] for i in range(0, len(content), 100)] if content else b""


APIS = {
    "plain": plain, "openai": openai, "anthropic": anthropic, "github": github, "stripe": stripe, "slack": slack,
    "notion": notion, "databricks": databricks, "graphql": graphql, "mcp": mcp, "npm": npm, "pypi": pypi, "git": git,
}
