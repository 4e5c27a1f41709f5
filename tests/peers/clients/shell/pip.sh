#!/usr/bin/env bash
# pip.
. "$(dirname "$0")/cases.sh"
python=$CLIENTS/python/bin/python
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS=
pip() { "$python" -m pip "$@"; }

install() {
  rm -rf target
  # docs
  pip install --index-url "$base/simple/" --target target pong
  # end
}
request() { install >/dev/null && ls target | grep -x pong.py | sed 's/.py//'; }

run request request
for name in forbidden large limited unavailable cut; do run $name install; done
