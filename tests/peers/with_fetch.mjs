// The cases of peers.py, with Node's built-in fetch.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { subscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";

const { BASE, RELEASE, CLIENT, AGENTS_OWN, BODY_SHA256, DOWNLOAD_SHA256, DOWNLOAD_LENGTH } = process.env;
const REQUESTS = Number(process.env.REQUESTS);
const BODY = readFileSync(process.env.BODY);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const sockets = new Set(); // local ports of the sockets on which fetch sent requests
subscribe("undici:client:sendHeaders", ({ socket }) => sockets.add(socket.localPort));

await fetch("data:,"); // creates the global dispatcher
const Agent = globalThis[Symbol.for("undici.globalDispatcher.1")].constructor;

/** Sends a request with the agent's own credential and cookie, which must not reach the upstream. */
function send(path, options = {}) {
  const headers = { Authorization: AGENTS_OWN, Cookie: "session=agents-own", "X-Client": CLIENT, ...options.headers };
  return fetch(BASE + path, { signal: AbortSignal.timeout(60_000), ...options, headers });
}

const cases = {
  async get() {
    const answer = await send("/v1/echo/a%20b?x=1&y=%2F", { headers: { "X-Note": "kept" } });
    const reply = await answer.json();
    assert.equal(answer.status, 200);
    assert.equal(reply.target, "/base/v1/echo/a%20b?x=1&y=%2F");
    assert.deepEqual([reply.note, reply.length, reply.transfer_encoding, reply.content_length], ["kept", 0, "", ""]);
    assert.ok(answer.headers.get("x-request-id"));
  },
  async head() {
    const answer = await send("/v1/files/5m", { method: "HEAD" });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-length"), DOWNLOAD_LENGTH);
    assert.equal((await answer.arrayBuffer()).byteLength, 0);
  },
  async post_chunked() {
    let at = 0;
    const body = new ReadableStream({
      pull(sink) {
        if (at >= BODY.length) return sink.close();
        sink.enqueue(new Uint8Array(BODY.subarray(at, at + 7001)));
        at += 7001;
      },
    });
    const reply = await (await send("/v1/echo/", { method: "POST", body, duplex: "half" })).json();
    assert.deepEqual([reply.sha256, reply.transfer_encoding, reply.content_length], [BODY_SHA256, "chunked", ""]);
  },
  async post_length() {
    const reply = await (await send("/v1/echo/", { method: "POST", body: BODY })).json();
    assert.deepEqual([reply.sha256, reply.transfer_encoding, reply.content_length], [BODY_SHA256, "", String(BODY.length)]);
  },
  async download() {
    const answer = await send("/v1/files/5m");
    assert.equal(answer.status, 200);
    assert.equal(sha256(new Uint8Array(await answer.arrayBuffer())), DOWNLOAD_SHA256);
  },
  async events() {
    const answer = await send(`/v1/events?run=${CLIENT}`);
    assert.equal(answer.headers.get("content-type"), "text/event-stream");
    let text = "";
    let released = false;
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (!released && text === "data: one\n\n") {
        released = true;
        assert.equal((await fetch(`${RELEASE}?run=${CLIENT}`, { method: "POST" })).status, 200);
      }
    }
    assert.equal(text, "data: one\n\ndata: two\n\n");
  },
  async keep_alive() {
    sockets.clear();
    const dispatcher = new Agent({ connections: 1 }); // by default, fetch alternates between two
    for (let number = 0; number < REQUESTS; number += 1) {
      const answer = await send(`/v1/echo/keep_alive?n=${number}`, { dispatcher });
      assert.equal(answer.status, 200);
      assert.ok((await answer.json()).target.endsWith(`?n=${number}`));
    }
    assert.equal(sockets.size, 1, `${sockets.size} sockets for ${REQUESTS} requests`);
  },
  async forbidden() {
    const answer = await send("/v1/forbidden");
    const reply = await answer.json();
    assert.equal(answer.status, 403);
    assert.equal(reply.status, 403);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    assert.equal(answer.headers.get("x-egressd-error"), "route_not_allowed");
    assert.equal(reply.code, "route_not_allowed");
    assert.equal(answer.headers.get("x-request-id"), reply.request_id);
    assert.match(answer.headers.get("proxy-status"), /^egressd; error=/);
    assert.deepEqual([reply.connection, reply.blame, reply.retryable], ["peer", "agent", false]);
    for (const field of ["type", "title", "detail"]) assert.ok(reply[field], field);
    assert.ok(reply.allowed_routes.includes("GET /v1/files/{name}"));
    assert.equal((await send("/v1/echo/x", { method: "DELETE" })).status, 405);
  },
};

for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${String(error.cause ?? error.message).replaceAll("\n", " ")}`);
  }
}
process.exit(0); // idle sockets would keep the process running
