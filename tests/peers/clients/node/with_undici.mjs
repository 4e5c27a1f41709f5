// undici, with its function `request`.
import * as undici from "undici";
import { run, size } from "./cases.mjs";

async function request(base) {
  // docs
  const { statusCode, statusText, body } = await undici.request(`${base}/item`);
  if (statusCode >= 400) throw new Error(`${statusCode} ${statusText}: ${await body.text()}`);
  // end
  return (await body.json()).answer;
}
async function stream(base) {
  const { body } = await undici.request(`${base}/events`);
  return (await body.text()).match(/(?<=data: )\w+/g).join(" ").replace(/ end$/, "");
}
async function upload(base) {
  const form = new undici.FormData();
  form.append("file", new Blob(["x".repeat(size)]), "f");
  const { body } = await undici.request(`${base}/upload`, { method: "POST", body: form });
  return (await body.json()).bytes;
}

await run({ request, stream, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
