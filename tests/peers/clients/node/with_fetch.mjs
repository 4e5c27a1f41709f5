// fetch of Node.
import { run, size } from "./cases.mjs";

async function get(base) {
  // docs
  const response = await fetch(`${base}/item`);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}: ${await response.text()}`);
  // end
  return response;
}
async function request(base) {
  return (await (await get(base)).json()).answer;
}
async function stream(base) {
  let text = "";
  const response = await fetch(`${base}/events`);
  for await (const piece of response.body) text += new TextDecoder().decode(piece);
  return text.match(/(?<=data: )\w+/g).join(" ").replace(/ end$/, "");
}
async function upload(base) {
  const body = new FormData();
  body.append("file", new Blob(["x".repeat(size)]), "f");
  return (await (await fetch(`${base}/upload`, { method: "POST", body })).json()).bytes;
}

await run({ request, stream, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
