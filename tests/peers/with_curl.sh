#!/usr/bin/env bash
# The cases of peers.py from curl. Each case is a function that returns non-zero on the first claim that fails.
set -uo pipefail

# An agent that brings a credential and a cookie of its own: neither may arrive.
ask() {
  curl --silent --show-error --max-time 60 -H "Authorization: $AGENTS_OWN" -H "Cookie: session=agents-own" -H "X-Client: $CLIENT" "$@"
}

# holds TEXT WANTED: TEXT has WANTED in it; otherwise says so.
holds() {
  case $1 in *"$2"*) ;; *) why="no '$2' in '${1:0:600}'"; return 1 ;; esac
}

get() {
  local told
  told=$(ask --fail -H "X-Note: kept" "$BASE/v1/echo/a%20b?x=1&y=%2F") || return
  holds "$told" '"target": "/base/v1/echo/a%20b?x=1&y=%2F"' && holds "$told" '"note": "kept"' &&
    holds "$told" '"length": 0,' && holds "$told" '"transfer_encoding": "", "content_length": ""'
}

head() {
  local told
  told=$(ask --fail --head "$BASE/v1/files/5m" | tr -d '\r' | tr '[:upper:]' '[:lower:]') || return
  holds "$told" 'http/1.1 200' && holds "$told" "content-length: $DOWNLOAD_LENGTH" && holds "$told" "x-request-id: "
}

post_chunked() {
  local told
  told=$(ask --fail -H "Transfer-Encoding: chunked" --data-binary "@$BODY" "$BASE/v1/echo/") || return
  holds "$told" "\"sha256\": \"$BODY_SHA256\"" && holds "$told" '"transfer_encoding": "chunked", "content_length": ""'
}

post_length() {
  local told
  told=$(ask --fail --data-binary "@$BODY" "$BASE/v1/echo/") || return
  holds "$told" "\"sha256\": \"$BODY_SHA256\"" && holds "$told" "\"transfer_encoding\": \"\", \"content_length\": \"$(stat -c %s "$BODY")\""
}

download() {
  holds "$(ask --fail "$BASE/v1/files/5m" | sha256sum)" "$DOWNLOAD_SHA256"
}

events() {
  local line seen=""
  while IFS= read -r line; do
    seen+="$line|"
    [ "$line" != "data: one" ] || curl --silent --fail --max-time 20 -X POST "$RELEASE?run=$CLIENT" >/dev/null || return
  done < <(ask --fail --no-buffer "$BASE/v1/events?run=$CLIENT")
  holds "$seen" "data: one||data: two||" && holds "" "${seen#'data: one||data: two||'}"
}

keep_alive() {
  local told
  told=$(ask -o /dev/null -w '%{num_connects} %{http_code}\n' "$BASE/v1/echo/keep_alive?n=[1-$REQUESTS]" |
    awk '{ sockets += $1; good += $2 == 200 } END { print good " good over " sockets " socket" }')
  holds "$told" "$REQUESTS good over 1 socket"
}

forbidden() {
  local told wanted heads=$SCRATCH/curl-heads
  told=$(ask -D "$heads" "$BASE/v1/forbidden") || return
  for wanted in '"status":403' '"code":"route_not_allowed"' '"connection":"peer"' '"blame":"agent"' '"retryable":false' \
    '"type":"' '"title":"' '"detail":"' '"request_id":"' '"allowed_routes":[' '"GET /v1/files/{name}"'; do
    holds "$(tr -d ' \n' <<<"$told")" "${wanted// /}" || return
  done
  for wanted in 'http/1.1 403' 'content-type: application/problem+json' 'x-egressd-error: route_not_allowed' \
    'x-request-id: ' 'proxy-status: egressd; error='; do
    holds "$(tr '[:upper:]' '[:lower:]' <"$heads")" "$wanted" || return
  done
  holds "$(ask -o /dev/null -w '%{http_code}' -X DELETE "$BASE/v1/echo/x")" 405
}

for name in get head post_chunked post_length download events keep_alive forbidden; do
  why="curl failed"
  if "$name"; then echo "ok $name"; else echo "not ok $name: ${why//$'\n'/ }"; fi
done
