// Octokit. It appends the path of a `Link` to its base URL, so `pages` has no case in that.
import { Octokit } from "@octokit/rest";
import { base as root, key, run, size } from "./cases.mjs";

const pong = { owner: "agent", repo: "pong" };

function clientOf(base) {
  const auth = key;
  // docs
  const octokit = new Octokit({ baseUrl: base, auth });
  // end
  return octokit;
}
async function request(base) {
  return (await clientOf(base).rest.repos.get(pong)).data.name;
}
async function pages() {
  const octokit = clientOf(root);
  return (await octokit.paginate(octokit.rest.issues.listForRepo, pong)).map((issue) => issue.title).join(" ");
}
async function upload(base) {
  const content = Buffer.alloc(size, "x").toString("base64");
  const { data } = await clientOf(base).rest.repos.createOrUpdateFileContents({ ...pong, path: "file", message: "m", content });
  return data.content.size;
}

await run({ request, pages, upload, forbidden: request, large: request, limited: request, unavailable: request, cut: request });
