// Runs the cases of a client and prints each result as one line: `case`, the name, `returned` or
// `raised`, and the text, separated by tabs. A case gets the base URL of its connection. It returns
// what the client showed, or throws the client's error.

export const base = process.env.BASE;
export const key = process.env.AGENTS_KEY;
export const size = 100_000;

export function show(name, how, text) {
  console.log(["case", name, how, String(text).split(/\s+/).join(" ")].join("\t"));
}

export async function run(functions) {
  for (const [name, action] of Object.entries(functions)) {
    try {
      show(name, "returned", await action(`${base}/${name}`));
    } catch (error) {
      show(name, "raised", `${error.name}: ${error.message}`);
    }
  }
  // Keep-alive sockets of some clients would delay the end of the process.
  process.exit(0);
}
