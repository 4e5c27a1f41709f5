#!/usr/bin/env bash
# git. `insteadOf` maps the URLs of the original host: scripts and submodules need no change.
. "$(dirname "$0")/cases.sh"
export GIT_TERMINAL_PROMPT=0 GIT_AUTHOR_NAME=agent GIT_AUTHOR_EMAIL=agent@localhost
export GIT_COMMITTER_NAME=agent GIT_COMMITTER_EMAIL=agent@localhost

configure() {
  rm -f "$HOME/.gitconfig"
  # docs
  git config --global url."$base/".insteadOf https://git.example.com/
  # end
}
clone() { configure && rm -rf "$1" && git clone -q https://git.example.com/pong.git "$1" && cat "$1/file"; }
upload() {
  clone copy >/dev/null && cd copy && head -c 100000 /dev/urandom >large && git add large && git commit -q -m large &&
    git push -q origin HEAD:refs/heads/large && git fetch -q origin large && git cat-file -s FETCH_HEAD:large && cd ..
}

run request clone request
run upload upload
for name in forbidden large limited unavailable cut; do run $name clone $name; done
