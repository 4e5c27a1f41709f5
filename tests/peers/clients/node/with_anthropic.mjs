// The Anthropic SDK for JavaScript.
import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { key, run, size } from "./cases.mjs";

const ping = { model: "imitation", max_tokens: 10, messages: [{ role: "user", content: "ping" }] };
const tool = { name: "weather", input_schema: { type: "object", properties: { city: { type: "string" } } } };

function clientOf(base) {
  const apiKey = key;
  // docs
  const client = new Anthropic({ baseURL: base, apiKey });
  // end
  return client;
}
async function request(base) {
  return (await clientOf(base).messages.create(ping)).content[0].text;
}
async function stream(base) {
  return await clientOf(base).messages.stream(ping).finalText();
}
async function upload(base) {
  const file = await toFile(Buffer.alloc(size, "x"), "f", { type: "text/plain" });
  return (await clientOf(base).beta.files.upload({ file })).size_bytes;
}
async function tools(base) {
  const client = clientOf(base);
  const messages = [{ role: "user", content: 'call weather {"city": "Paris"}' }];
  const asked = { ...ping, tools: [tool], messages };
  const answer = await client.messages.create(asked);
  const result = { type: "tool_result", tool_use_id: answer.content[0].id, content: "rain" };
  messages.push({ role: "assistant", content: answer.content }, { role: "user", content: [result] });
  return (await client.messages.create(asked)).content[0].text;
}

await run({ request, stream, upload, tools, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
