#!/usr/bin/env bash
# npm.
. "$(dirname "$0")/cases.sh"
export npm_config_fetch_retry_mintimeout=10 npm_config_fetch_retry_maxtimeout=20 npm_config_audit=false
export npm_config_update_notifier=false npm_config_cache=$HOME/cache

configure() {
  # docs
  npm config set registry "$base/"
  npm config set replace-registry-host always
  # end
}
install() {
  rm -rf project "$HOME/cache" && mkdir project && cd project && echo '{}' >package.json && configure &&
    npm install --no-fund --loglevel=error pong >/dev/null && node -p 'require("pong/package.json").name'
}

run request install
for name in forbidden large limited unavailable cut; do run $name install; done
