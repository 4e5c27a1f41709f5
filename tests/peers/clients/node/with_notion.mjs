// The Notion SDK for JavaScript.
import { Client } from "@notionhq/client";
import { key, run, size } from "./cases.mjs";

function clientOf(base) {
  const auth = key;
  // docs
  const notion = new Client({ auth, baseUrl: base });
  // end
  return notion;
}
async function request(base) {
  return (await clientOf(base).users.me({})).name;
}
async function upload(base) {
  const file = { filename: "f", data: new Blob(["x".repeat(size)]) };
  return (await clientOf(base).fileUploads.send({ file_upload_id: "1", file })).content_length;
}

await run({ request, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: request });
