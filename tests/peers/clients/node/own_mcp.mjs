// The MCP SDK for TypeScript, as a client of the MCP server of egressd.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { run } from "./cases.mjs";

async function clientOf(base) {
  // docs
  const client = new Client({ name: "agent", version: "1.0.0" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${base}/mcp`)));
  // end
  return client;
}
async function call(name) {
  const client = await clientOf(process.env.DEMO);
  return (await client.callTool({ name, arguments: {} })).content[0].text;
}
async function pages() {
  const client = await clientOf(process.env.MANY);
  const found = new Set();
  let cursor;
  let count = 0;
  do {
    const page = await client.listTools({ cursor });
    page.tools.forEach((tool) => found.add(tool.name));
    cursor = page.nextCursor;
    count += 1;
  } while (cursor);
  return `${found.size} tools on ${count > 1 ? "several pages" : "one page"}`;
}

await run({ request: () => call("notes_get_items"), refused: () => call("notes_get_reflect"), pages });
