#!/usr/bin/env bash
# curl.
. "$(dirname "$0")/cases.sh"

value() { sed -E 's/^\{"(answer|bytes)": "?(\w+)"?\}$/\2/'; }
get() {
  # docs
  curl -sS --fail-with-body "$base/item"
  # end
}
request() { get | value; }
stream() { curl -sS --fail-with-body --no-buffer "$base/events" | sed -n 's/^data: //p' | grep -v '^end$'; }
upload() { head -c 100000 /dev/zero | curl -sS --fail-with-body -F "file=@-;filename=f" "$base/upload" | value; }

for name in request stream upload forbidden large limited unavailable cut; do
  case $name in
    stream | upload) run $name $name ;;
    cut) run cut stream ;;
    *) run $name request ;;
  esac
done
