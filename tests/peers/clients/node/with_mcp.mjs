// The MCP SDK for TypeScript, as a client of an MCP server behind egressd.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { run, size } from "./cases.mjs";

async function call(base, text) {
  // docs
  const client = new Client({ name: "agent", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${base}/mcp`)));
  const result = await client.callTool({ name: "ping", arguments: { text } });
  // end
  await client.close();
  return result.content[0].text;
}
const request = (base) => call(base, "ping");
const upload = (base) => call(base, "x".repeat(size));

await run({ request, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: request });
