// The Vercel AI SDK with its provider for OpenAI.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { key, run } from "./cases.mjs";

function modelOf(base) {
  const apiKey = key;
  // docs
  const openai = createOpenAI({ baseURL: `${base}/v1`, apiKey });
  const model = openai("imitation");
  // end
  return model;
}
async function request(base) {
  return (await generateText({ model: modelOf(base), prompt: "ping" })).text;
}
async function stream(base) {
  let text = "";
  let failure = null;
  const result = streamText({ model: modelOf(base), prompt: "ping", onError: ({ error }) => (failure = error) });
  for await (const piece of result.textStream) text += piece;
  if (failure) throw failure;
  return text;
}
async function tools(base) {
  const weather = tool({ description: "weather", inputSchema: z.object({ city: z.string() }), execute: async () => "rain" });
  const prompt = 'call weather {"city": "Paris"}';
  return (await generateText({ model: modelOf(base), prompt, tools: { weather }, stopWhen: stepCountIs(3) })).text;
}

await run({ request, stream, tools, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
