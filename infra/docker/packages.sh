#!/usr/bin/env bash
# What a Docker engine needs, for engine.sh: unpacked from Debian's packages, because installing them starts a service.
#
#   infra/docker/packages.sh <directory>
#
# Idempotent. Engine and command line are those of the host's own release; Compose and the NATS server, which older
# releases lack or have too old, those of Debian 13.
# Exit codes: 0 there, 3 not possible on this machine (the message says why).
set -euo pipefail
exec 1>&2

TOOLS=$1
UNPACK=$TOOLS.new
LOG=$UNPACK/log
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
LATER_SUITE=trixie
LATER_PACKAGES=(docker-compose nats-server)
INSTALLED=(iptables debootstrap busybox-static) # these start nothing
APT_LOCK_WAIT_S=120
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

main() {
  if [[ -d $TOOLS ]]; then return; fi
  command -v apt-get >/dev/null && command -v dpkg >/dev/null && [[ -e $KEYRING ]] ||
    die 'there is no Docker engine with Compose here, and only on Debian can one be unpacked'
  rm -rf "$UNPACK" && mkdir -p "$UNPACK"/{debs,lists/partial,cache/archives/partial}
  say "unpacking a Docker engine from Debian's packages (no service is installed or started)"
  install_helpers || { apt_get update && install_helpers; } || failed "cannot install ${INSTALLED[*]}"
  unpack_engine || failed 'cannot download the Docker engine'
  unpack_later || failed "cannot download ${LATER_PACKAGES[*]} of Debian $LATER_SUITE"
  rm -rf "$UNPACK"/{debs,lists,cache,sources.list}
  mv "$UNPACK" "$TOOLS"
}

say() { printf 'engine: %s\n' "$*"; }

die() { # <line>
  say "$1"
  exit 3
}

failed() { # <line>
  tail -n 15 "$LOG"
  die "$1 (above: the end of what apt said)"
}

apt_get() {
  apt-get -qq -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_S" -o APT::Sandbox::User=root -o Acquire::Retries=2 \
    -o Acquire::http::Timeout=30 "$@" >>"$LOG" 2>&1
}

install_helpers() { apt_get install --yes --no-install-recommends "${INSTALLED[@]}"; }

unpack_engine() {
  local packages=(docker.io containerd runc)
  # Since Debian 13 the command line is a package of its own.
  if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
  (cd "$UNPACK/debs" && apt_get download "${packages[@]}") && unpack
}

# Lists and sources of its own: the host's packages are not offered another release. The mirror is the host's.
unpack_later() {
  local codename mirror options
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mirror=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/${codename:-none}/.*|\1|p;" | head -n 1)
  [[ -n $mirror ]] || die "apt's sources name no mirror for ${codename:-this system}"
  echo "deb [signed-by=$KEYRING] $mirror $LATER_SUITE main" >"$UNPACK/sources.list"
  options=(
    -o "Dir::Etc::SourceList=$UNPACK/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$UNPACK/lists" -o "Dir::Cache=$UNPACK/cache" -o Dir::State::Status=/dev/null
    -o Acquire::Languages=none -o APT::Update::Error-Mode=any -o APT::Update::Post-Invoke-Success::=
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
  )
  apt_get "${options[@]}" update &&
    (cd "$UNPACK/debs" && apt_get "${options[@]}" download "${LATER_PACKAGES[@]}") && unpack
}

unpack() {
  local package
  for package in "$UNPACK"/debs/*.deb; do
    dpkg -x "$package" "$UNPACK" || return 1
    rm "$package"
  done
}

main
