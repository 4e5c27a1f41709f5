// The OpenAI SDK for JavaScript.
import OpenAI, { toFile } from "openai";
import { key, run, size } from "./cases.mjs";

const ping = { model: "imitation", messages: [{ role: "user", content: "ping" }] };
const tool = { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } };

function clientOf(base) {
  const apiKey = key;
  // docs
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey });
  // end
  return client;
}
async function request(base) {
  return (await clientOf(base).chat.completions.create(ping)).choices[0].message.content;
}
async function stream(base) {
  let text = "";
  const chunks = await clientOf(base).chat.completions.create({ ...ping, stream: true });
  for await (const chunk of chunks) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}
async function upload(base) {
  const file = await toFile(Buffer.alloc(size, "x"), "f");
  return (await clientOf(base).files.create({ file, purpose: "assistants" })).bytes;
}
async function tools(base) {
  const client = clientOf(base);
  const messages = [{ role: "user", content: 'call weather {"city": "Paris"}' }];
  const answer = (await client.chat.completions.create({ model: "imitation", messages, tools: [tool] })).choices[0].message;
  messages.push(answer, { role: "tool", tool_call_id: answer.tool_calls[0].id, content: "rain" });
  return (await client.chat.completions.create({ model: "imitation", messages, tools: [tool] })).choices[0].message.content;
}

await run({ request, stream, upload, tools, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
