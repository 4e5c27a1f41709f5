# Runs the cases of a program and prints each result as one line: `case`, the name, `returned` or
# `raised`, and the text, separated by tabs. A program raises an error by its exit code.
set -uo pipefail

# run CASE COMMAND...: runs a command with `base`, the base URL of its connection.
run() {
  local name=$1 how=returned text
  shift
  base=$BASE/$name
  text=$("$@" 2>&1) || how=raised
  printf 'case\t%s\t%s\t%s\n' "$name" "$how" "$(tr -s '\r\n\t ' ' ' <<<"$text" | sed 's/ $//')"
}
