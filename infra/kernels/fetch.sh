#!/usr/bin/env bash
# Unpacks a Debian kernel into build/kernels/<name>/, to run tests on it (run.sh). Nothing is installed.
#
#   infra/kernels/fetch.sh <name>      (5.10, 6.1 or 6.12: what Debian 11, 12 and 13 run)
#
# What is there already is left alone; remove the directory to fetch it anew. It holds vmlinuz, config and
# lib/modules/<release>/. The kernel is the one for virtual machines (cloud): the same source and options, fewer drivers.
# Exit codes: 0 there, 1 could not be fetched (the message says why), 2 wrong usage, 3 not possible on this machine.
set -euo pipefail
exec 1>&2

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
declare -A SUITES=([5.10]=bullseye [6.1]=bookworm [6.12]=trixie)
PACKAGE=linux-image-cloud-amd64 # depends on the newest release of its suite
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
LOCK_WAIT_S=600
UPDATE_LIMIT_S=180
DOWNLOAD_LIMIT_S=300
PATH=$PATH:/usr/sbin:/sbin

main() {
  name=${1:-}
  [[ $# -eq 1 && -n ${SUITES[$name]:-} ]] || die 2 'usage: infra/kernels/fetch.sh 5.10|6.1|6.12'
  suite=${SUITES[$name]}
  kernel=$ROOT/build/kernels/$name
  mkdir -p "$ROOT/build/kernels"
  exec 8>"$ROOT/build/kernels/.$name.lock"
  flock -w "$LOCK_WAIT_S" 8 || die 1 "another run is fetching Linux $name and does not end: fuser -v $ROOT/build/kernels/.$name.lock"
  if [[ -d $kernel ]]; then return; fi
  local tool
  for tool in apt-get dpkg depmod; do
    command -v "$tool" >/dev/null || die 3 "$tool is missing; a Debian system with kmod is needed (infra/kernels/packages.sh)"
  done
  [[ -e $KEYRING ]] || die 3 "$KEYRING is missing; run: apt-get install debian-archive-keyring"

  unpack=$kernel.new
  rm -rf "$unpack" && mkdir -p "$unpack/apt"/{lists/partial,cache/archives/partial}
  log=$unpack/apt/log
  say "fetching the kernel of Debian $suite"
  private_apt
  fetch
  rm -rf "$unpack/apt" && mv "$unpack" "$kernel"
  say "Linux $(ls "$kernel/lib/modules") is in build/kernels/$name ($SECONDS s)"
}

say() { printf 'kernels: %s\n' "$*"; }

die() { # <exit code> <line>
  say "$2"
  exit "$1"
}

failed() { # <line>
  tail -n 8 "$log"
  die 1 "$1 (above: the end of what apt said; all of it: $log)"
}

# Lists and sources of its own: the host's packages are not offered another release. The mirror is the host's.
private_apt() {
  local codename mirror
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mirror=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/${codename:-none}/.*|\1|p;" | head -n 1)
  [[ -n $mirror ]] || die 3 "apt's sources name no mirror for ${codename:-this system}"
  echo "deb [arch=amd64 signed-by=$KEYRING] $mirror $suite main" >"$unpack/apt/sources.list"
  apt_options=(
    -o "Dir::Etc::SourceList=$unpack/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$unpack/apt/lists" -o "Dir::Cache=$unpack/apt/cache" -o Dir::State::Status=/dev/null
    -o APT::Architecture=amd64 -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2
    -o Acquire::http::Timeout=30 -o APT::Update::Error-Mode=any -o APT::Update::Post-Invoke-Success::=
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
  )
  timeout "$UPDATE_LIMIT_S" apt-get -qq "${apt_options[@]}" update >"$log" 2>&1 ||
    failed "the mirror that this machine's apt uses does not serve the suite $suite"
}

fetch() {
  local image release
  image=$(apt-cache "${apt_options[@]}" depends "$PACKAGE" 2>>"$log" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
  [[ -n $image ]] || failed "the suite $suite has no $PACKAGE"
  (cd "$unpack/apt" && timeout "$DOWNLOAD_LIMIT_S" apt-get -qq "${apt_options[@]}" download "$image") >>"$log" 2>&1 ||
    failed "$image could not be downloaded"
  dpkg -x "$unpack/apt/$image"_*.deb "$unpack/apt/package" || failed "$image could not be unpacked"
  mkdir "$unpack/lib"
  # Debian 13 has its modules below usr/.
  mv "$unpack"/apt/package/{usr/,}lib/modules "$unpack/lib/" 2>/dev/null || true
  release=$(ls "$unpack/lib/modules")
  mv "$unpack/apt/package/boot/vmlinuz-$release" "$unpack/vmlinuz"
  mv "$unpack/apt/package/boot/config-$release" "$unpack/config"
  depmod -b "$unpack" "$release" # the package does it when it is installed
}

main "$@"
