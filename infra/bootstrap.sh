#!/usr/bin/env bash
# Everything that `npm start`, `npm test` and `npm run build` need, and nothing that is there already.
#
#   infra/bootstrap.sh [start|test|kernels|build]      (default: build)
#
# Idempotent: each step looks for what it provides and is skipped when that is there and not out of date.
# Sources are the distribution's packages and the npm registry. All output goes to stderr, because stdout
# belongs to the command that follows (`npm start -- -o json`).
# Exit codes: 0 ready, 1 a build failed, 2 wrong usage, 3 this machine lacks something that cannot be
# installed from here (the message says what to run).
set -euo pipefail
exec 1>&2

GOAL=${1:-build}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NODE_MINIMUM=20.20
LOCK_WAIT_S=300
APT_LOCK_WAIT_S=120
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin # ldconfig and servers live there, and an ordinary user's PATH may lack it

main() {
  [[ $# -le 1 && $GOAL =~ ^(start|test|kernels|build)$ ]] || die 2 'usage: infra/bootstrap.sh [start|test|kernels|build]'
  cd "$ROOT"
  check_host
  take_lock
  rm -f build/apt.log
  system_packages
  if [[ $GOAL == kernels ]]; then infra/kernels/packages.sh 9>&-; fi
  if [[ $GOAL != build ]]; then server_program nats-server; fi
  if [[ $GOAL == test ]]; then server_program caddy; fi
  npm_packages
  build_bpf
  build_typescript
  if [[ $GOAL != build ]]; then build_targets; fi
  say "ready (${SECONDS} s)"
}

say() { printf 'setup: %s\n' "$*"; }

die() { # <exit code> <line>...
  local code=$1
  shift
  printf 'setup: %s\n' "$@"
  exit "$code"
}

check_host() {
  [[ $(uname -sm) == 'Linux x86_64' ]] || die 3 "flowtag needs Linux on x86_64; this is $(uname -sm)"
  command -v node >/dev/null || die 3 "node is not on PATH; install Node.js >= $NODE_MINIMUM and repeat"
  command -v npm >/dev/null || die 3 "npm is not on PATH; install npm (Debian: apt-get install npm) and repeat"
  local node_version
  node_version=$(node -p process.versions.node)
  printf '%s\n' "$NODE_MINIMUM" "$node_version" | sort -V -C ||
    die 3 "Node.js $node_version is too old; flowtag needs >= $NODE_MINIMUM (https://nodejs.org/en/download)"
  mkdir -p build 2>/dev/null && [[ -w build && -w . ]] ||
    die 3 "cannot write to $ROOT as $(id -un 2>/dev/null || id -u); run as the owner of the checkout, or:" \
      "  sudo chown -R $(id -u) '$ROOT'"
}

# Two npm scripts started together must not install or build into each other.
take_lock() {
  exec 9>build/.bootstrap.lock
  if flock -n 9; then return; fi
  say "another set-up of this checkout is running; waiting for it (at most $LOCK_WAIT_S s)"
  flock -w "$LOCK_WAIT_S" 9 || die 1 "it did not end in time; see who holds it: fuser -v $ROOT/build/.bootstrap.lock"
}

# --- system packages: looked for by what they provide, so that any other way of installing them counts too

system_packages() {
  local missing=()
  need clang 'compiles the BPF programs' command -v clang
  need libbpf-dev 'headers of the BPF programs' test -e /usr/include/bpf/bpf_helpers.h
  need libbpf1 'loads the BPF programs' has_library libbpf.so.1
  need make 'runs the builds' command -v make
  if [[ $GOAL == test ]]; then need bpftool 'reads BPF objects, to compare' command -v bpftool; fi
  if [[ $GOAL == test ]]; then need openssl 'makes certificates for the tests' command -v openssl; fi
  if [[ $GOAL == test ]]; then need iproute2 'slows down links of containers' command -v tc; fi
  if [[ $GOAL != build ]]; then need golang-go 'builds the demo and test targets' command -v go; fi
  if ((${#missing[@]} == 0)); then return; fi

  local install=(install --yes --no-install-recommends "${missing[@]}")
  local by_hand="apt-get update && apt-get ${install[*]}"
  command -v apt-get >/dev/null ||
    die 3 "there is no apt-get here; install what these Debian packages hold and repeat: ${missing[*]}"
  ((EUID == 0)) || die 3 'not root, so it cannot install system packages; run this and repeat:' "  sudo sh -c '$by_hand'"
  say "installing with apt-get: ${missing[*]}"
  apt "${install[@]}" || { refresh_lists && apt "${install[@]}"; } || {
    tail -n 15 build/apt.log
    die 3 'apt-get failed (above: the end of build/apt.log); with a working network, run this and repeat:' \
      "  $by_hand"
  }
}

need() { # <package> <why> <check>...
  local package=$1 why=$2
  shift 2
  if "$@" >/dev/null 2>&1; then return; fi
  say "$package is missing ($why)"
  missing+=("$package")
}

has_library() { [[ $(ldconfig -p) == *"$1"* ]]; }

# A failed update must fail here: apt-get counts an unreachable mirror as a warning.
apt() { # <arguments of apt-get>; its chatter goes to build/apt.log
  apt-get -qq -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_S" -o APT::Update::Error-Mode=any "$@" >>build/apt.log 2>&1 9>&-
}

refresh_lists() {
  say 'refreshing the package lists'
  apt update
}

# --- server programs: unpacked, never installed, because their packages would start a system service

server_program() { # <Debian package and program>
  local name=$1
  if command -v "$name" >/dev/null || compgen -G "build/tools/usr/*bin/$name" >/dev/null; then return; fi
  local by_hand="put a $name program on PATH, and repeat"
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    die 3 "$name is missing and there is no apt-get here; $by_hand"
  say "unpacking $name from its Debian package into build/tools (no service is installed or started)"
  rm -rf build/download && mkdir -p build/download
  download "$name" || { ((EUID == 0)) && refresh_lists && download "$name"; } || {
    tail -n 15 build/apt.log
    die 3 "cannot download $name (above: the end of build/apt.log); with a working network, run this and repeat:" \
      '  sudo apt-get update' "or $by_hand"
  }
  mkdir -p build/tools
  dpkg -x build/download/*.deb build/tools
  rm -rf build/download
}

# As root, apt-get fetches as user _apt, who may not be able to write into the checkout: hence the sandbox user.
download() { (cd build/download && apt-get -qq -o APT::Sandbox::User=root download "$1") >>build/apt.log 2>&1 9>&-; }

# --- npm packages

npm_packages() {
  if ! node infra/installed.mjs; then
    say 'npm ci (node_modules is missing or differs from package-lock.json)'
    npm ci --no-audit --no-fund --no-update-notifier --loglevel=error 9>&- ||
      die 3 'npm ci failed; with access to the npm registry, run this and repeat:' "  cd '$ROOT' && npm ci"
  fi
  # npm links the programs of dependencies, not the package's own: this makes `npx flowtag` work here.
  ln -sfn ../../bin/flowtag.js node_modules/.bin/flowtag
}

# --- builds; make decides by itself what is out of date

build_bpf() {
  make -s -C bpf 9>&- || die 1 'the BPF build failed (above); repeat it with: make -C bpf V=1'
}

build_typescript() {
  # Directories count too: their time changes when a source is removed, whose output must go.
  if [[ -e dist/.built && -z $(find schemas services tsconfig.json tsconfig.build.json package-lock.json -newer dist/.built -print -quit) ]]; then
    return
  fi
  say 'compiling TypeScript into dist/'
  rm -rf dist && mkdir dist && touch dist/.building # the start counts: what is edited meanwhile is newer
  node_modules/.bin/tsc -p tsconfig.build.json 9>&- || die 1 'tsc failed (above)'
  mv dist/.building dist/.built
}

build_targets() {
  make -s -C test/targets 9>&- || die 1 'the Go targets failed to build (above); repeat with: make -C test/targets V=1'
}

main "$@"
