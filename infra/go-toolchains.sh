#!/usr/bin/env bash
# The Go toolchains that Debian's suites carry, unpacked side by side: probes and offsets are verified on each.
#
#   infra/go-toolchains.sh [directory [minor...]]      (default: build/go-toolchains, every minor there is)
#
# Each becomes <directory>/<minor>/ (such as 1.24), which is its GOROOT; nothing is installed, and what is there
# already is left alone. A minor that no suite carries is an error when it was asked for by name. Run one as
# the Makefile of test/targets runs go, from the directory of a go.mod: no network, no other toolchain, no C compiler,
# nothing of the user's set-up, everything that is written below build/ (BUILD is its absolute path):
#
#   env HOME=$BUILD/go GOCACHE=$BUILD/go/cache GOPATH=$BUILD/go/path GOENV=off GOFLAGS= GOPROXY=off \
#     GOTOOLCHAIN=local CGO_ENABLED=0 GOROOT=$BUILD/go-toolchains/1.24 $BUILD/go-toolchains/1.24/bin/go build .
#
# Exit codes: 0 all there, 1 something could not be fetched (the message says what), 3 not possible on this machine.
set -euo pipefail
exec 1>&2

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The older ones still carry what was dropped later; suites that the mirror no longer serves are passed over.
SUITES=(sid forky trixie trixie-backports bookworm bookworm-backports bullseye-backports)
OLDEST_MINOR=18 # what flowtag reads

main() {
  local directory=${1:-$ROOT/build/go-toolchains}
  shift $(($# > 0))
  local wanted=("$@") minor failed=()
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || die 3 'needs apt-get and dpkg (Debian)'
  for minor in "${wanted[@]}"; do
    [[ $minor =~ ^1\.[0-9]+$ ]] || die 1 "\"$minor\" is no version such as 1.24; usage: go-toolchains.sh [directory [minor...]]"
  done
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  exec 8>"$directory/.lock"
  flock -w 600 8 || die 1 "another run holds $directory/.lock"

  if ((${#wanted[@]} > 0)) && all_there; then return; fi
  private_apt
  if ((${#wanted[@]} == 0)); then mapfile -t wanted < <(offered); fi
  ((${#wanted[@]} > 0)) || die 1 "none of the suites of $mirror carries a Go (${SUITES[*]})"
  for minor in "${wanted[@]}"; do
    there "$minor" || fetch "$minor" || failed+=("$minor")
  done
  rm -rf "$directory/.unpack"
  ((${#failed[@]} == 0)) || die 1 "could not fetch Go ${failed[*]}; offered: $(offered | xargs). See $apt_log"
}

say() { printf 'go-toolchains: %s\n' "$*"; }

die() { # <exit code> <line>
  say "$2"
  exit "$1"
}

there() { [[ -x $directory/$1/bin/go ]]; }

all_there() {
  local minor
  for minor in "${wanted[@]}"; do there "$minor" || return 1; done
}

# Lists and sources of its own, so that the host's packages are neither offered newer versions nor locked. The mirror
# is the one that the host uses for its own release.
private_apt() {
  local state=$directory/.apt codename suite
  apt_log=$state/log
  mkdir -p "$state"/{lists/partial,cache/archives/partial}
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mirror=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/${codename:-none}/.*|\1|p;" | head -n 1)
  [[ -n $mirror ]] || die 3 "apt's sources name no mirror for ${codename:-this system}"
  for suite in "${SUITES[@]}"; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$state/sources.list"
  apt_options=(
    -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30
    -o APT::Update::Post-Invoke-Success::= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
  )
  say "reading the package lists of ${SUITES[*]}"
  # Fails when one suite is not served; what the others carry is there all the same.
  timeout 300 apt-get -qq "${apt_options[@]}" update >"$apt_log" 2>&1 || true
}

offered() { # minors that some suite carries, in order
  apt-cache "${apt_options[@]}" pkgnames golang-1. |
    sed -n 's/^golang-\(1\.[0-9]*\)-go$/\1/p' | sort -V -u |
    while read -r minor; do ((${minor#1.} < OLDEST_MINOR)) || echo "$minor"; done
}

fetch() { # <minor>
  local minor=$1 unpack=$directory/.unpack
  say "fetching Go $minor"
  rm -rf "$unpack" && mkdir -p "$unpack"
  (cd "$unpack" && timeout 600 apt-get -qq "${apt_options[@]}" download "golang-$minor-go" "golang-$minor-src") \
    >>"$apt_log" 2>&1 || return 1
  local package programs=$unpack/usr/lib/go-$minor goroot=$unpack/usr/share/go-$minor
  for package in "$unpack"/*.deb; do dpkg -x "$package" "$unpack" || return 1; done
  # Debian splits a GOROOT into programs and sources, tied together by links to absolute paths.
  find "$programs" -type l -delete || return 1
  cp -a "$programs/." "$goroot/" && rm -rf "$goroot"/{test,api} && [[ -x $goroot/bin/go ]] || return 1
  rm -rf "${directory:?}/$minor"
  mv "$goroot" "$directory/$minor"
}

main "$@"
