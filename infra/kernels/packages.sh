#!/usr/bin/env bash
# What running another kernel needs of this machine: an emulator, and tools to unpack a kernel and build its initramfs.
#
#   infra/kernels/packages.sh
#
# Idempotent: looked for by what they provide, installed with apt-get when missing and we are root.
# Exit codes: 0 all there, 3 something is missing and cannot be installed from here (the message says what to run).
set -euo pipefail
exec 1>&2

LOG=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/apt.log
APT_LOCK_WAIT_S=120
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

main() {
  mkdir -p "${LOG%/*}"
  install_missing \
    'qemu-system-x86 command -v qemu-system-x86_64' \
    'busybox-static is_static_busybox' \
    'kmod command -v depmod' \
    'xz-utils command -v xz'
  # Debian 12 has it in a package that the emulator brings along; later ones in a package of its own.
  install_missing 'virtiofsd has_virtiofsd'
}

say() { printf 'kernels: %s\n' "$*"; }

die() { # <exit code> <line>...
  local code=$1
  shift
  printf 'kernels: %s\n' "$@"
  exit "$code"
}

has_virtiofsd() { [[ -x /usr/libexec/virtiofsd || -x /usr/lib/qemu/virtiofsd ]]; }

# An initramfs has no libraries.
is_static_busybox() { command -v busybox && ! ldd "$(command -v busybox)"; }

install_missing() { # <package, and the command that succeeds when what it provides is there>...
  local line package check missing=()
  for line in "$@"; do
    read -r package check <<<"$line"
    $check >/dev/null 2>&1 || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then return; fi

  local install=(install --yes --no-install-recommends "${missing[@]}")
  local by_hand="apt-get update && apt-get ${install[*]}"
  command -v apt-get >/dev/null ||
    die 3 "there is no apt-get here; install what these Debian packages hold and repeat: ${missing[*]}"
  ((EUID == 0)) || die 3 'not root, so it cannot install system packages; run this and repeat:' "  sudo sh -c '$by_hand'"
  say "installing with apt-get: ${missing[*]}"
  apt "${install[@]}" || { apt update && apt "${install[@]}"; } || {
    tail -n 15 "$LOG"
    die 3 'apt-get failed (above: the end of build/apt.log); with a working network, run this and repeat:' "  $by_hand"
  }
}

# A failed update must fail here: apt-get counts an unreachable mirror as a warning.
apt() { # <arguments of apt-get>
  apt-get -qq -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_S" -o APT::Update::Error-Mode=any "$@" >>"$LOG" 2>&1
}

main
