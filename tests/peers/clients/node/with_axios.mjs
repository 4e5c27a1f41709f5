// axios.
import axios from "axios";
import { run, size } from "./cases.mjs";

async function request(base) {
  // docs
  const client = axios.create({ baseURL: base });
  const response = await client.get("/item");
  // end
  return response.data.answer;
}
async function stream(base) {
  let text = "";
  const response = await axios.get(`${base}/events`, { responseType: "stream" });
  for await (const piece of response.data) text += piece;
  return text.match(/(?<=data: )\w+/g).join(" ").replace(/ end$/, "");
}
async function upload(base) {
  const body = new FormData();
  body.append("file", new Blob(["x".repeat(size)]), "f");
  return (await axios.post(`${base}/upload`, body)).data.bytes;
}

await run({ request, stream, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: stream });
