#!/usr/bin/env bash
# The cases of peers.py, with curl. Each case is a function that returns non-zero on the first claim
# that fails.
set -uo pipefail

# Sends a request with the agent's own credential and cookie, which must not reach the upstream.
send() {
  curl --silent --show-error --max-time 60 -H "Authorization: $AGENTS_OWN" -H "Cookie: session=agents-own" -H "X-Client: $CLIENT" "$@"
}

# contains TEXT WANTED: fails if TEXT does not contain WANTED, and sets the reason in $why.
contains() {
  case $1 in *"$2"*) ;; *) why="no '$2' in '${1:0:600}'"; return 1 ;; esac
}

get() {
  local reply
  reply=$(send --fail -H "X-Note: kept" "$BASE/v1/echo/a%20b?x=1&y=%2F") || return
  contains "$reply" '"target": "/base/v1/echo/a%20b?x=1&y=%2F"' && contains "$reply" '"note": "kept"' &&
    contains "$reply" '"length": 0,' && contains "$reply" '"transfer_encoding": "", "content_length": ""'
}

head() {
  local reply
  reply=$(send --fail --head "$BASE/v1/files/5m" | tr -d '\r' | tr '[:upper:]' '[:lower:]') || return
  contains "$reply" 'http/1.1 200' && contains "$reply" "content-length: $DOWNLOAD_LENGTH" && contains "$reply" "x-request-id: "
}

post_chunked() {
  local reply
  reply=$(send --fail -H "Transfer-Encoding: chunked" --data-binary "@$BODY" "$BASE/v1/echo/") || return
  contains "$reply" "\"sha256\": \"$BODY_SHA256\"" && contains "$reply" '"transfer_encoding": "chunked", "content_length": ""'
}

post_length() {
  local reply
  reply=$(send --fail --data-binary "@$BODY" "$BASE/v1/echo/") || return
  contains "$reply" "\"sha256\": \"$BODY_SHA256\"" && contains "$reply" "\"transfer_encoding\": \"\", \"content_length\": \"$(stat -c %s "$BODY")\""
}

download() {
  contains "$(send --fail "$BASE/v1/files/5m" | sha256sum)" "$DOWNLOAD_SHA256"
}

events() {
  local line seen=""
  while IFS= read -r line; do
    seen+="$line|"
    [ "$line" != "data: one" ] || curl --silent --fail --max-time 20 -X POST "$RELEASE?run=$CLIENT" >/dev/null || return
  done < <(send --fail --no-buffer "$BASE/v1/events?run=$CLIENT")
  contains "$seen" "data: one||data: two||" && contains "" "${seen#'data: one||data: two||'}"
}

keep_alive() {
  local reply
  reply=$(send -o /dev/null -w '%{num_connects} %{http_code}\n' "$BASE/v1/echo/keep_alive?n=[1-$REQUESTS]" |
    awk '{ sockets += $1; good += $2 == 200 } END { print good " good over " sockets " socket" }')
  contains "$reply" "$REQUESTS good over 1 socket"
}

forbidden() {
  local reply wanted heads=$SCRATCH/curl-heads
  reply=$(send -D "$heads" "$BASE/v1/forbidden") || return
  for wanted in '"status":403' '"code":"route_not_allowed"' '"connection":"peer"' '"blame":"agent"' '"retryable":false' \
    '"type":"' '"title":"' '"detail":"' '"request_id":"' '"allowed_routes":[' '"GET /v1/files/{name}"'; do
    contains "$(tr -d ' \n' <<<"$reply")" "${wanted// /}" || return
  done
  for wanted in 'http/1.1 403' 'content-type: application/problem+json' 'x-egressd-error: route_not_allowed' \
    'x-request-id: ' 'proxy-status: egressd; error='; do
    contains "$(tr '[:upper:]' '[:lower:]' <"$heads")" "$wanted" || return
  done
  contains "$(send -o /dev/null -w '%{http_code}' -X DELETE "$BASE/v1/echo/x")" 405
}

for name in get head post_chunked post_length download events keep_alive forbidden; do
  why="curl failed"
  if "$name"; then echo "ok $name"; else echo "not ok $name: ${why//$'\n'/ }"; fi
done
