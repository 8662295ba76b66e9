#!/usr/bin/env bash
# The images that the project's own start from: there, pulled, or made here under their official names.
#
#   infra/docker/base-images.sh      (with a Docker engine at hand)
#
# Those made here hold the same programs from other sources: the host's Node.js and npm on a minimal Debian, with the
# host's certificates and npm settings, so that builds reach what the host reaches; and Debian's NATS server on busybox.
# Exit codes: 0 there, 3 an image can be neither pulled nor made here (the message says why).
set -euo pipefail
exec 1>&2

HOME_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/docker
TOOLS=$HOME_DIR/tools
LOG=$HOME_DIR/base-images.log
NODE_IMAGE=node:20-bookworm-slim
NATS_IMAGE=nats:2.10-alpine
PULL_LIMIT_S=120
CERTIFICATES=etc/ssl/certs/ca-certificates.crt
PATH=$PATH:/usr/sbin:/sbin

main() {
  mkdir -p "$HOME_DIR"
  image "$NODE_IMAGE" make_node
  image "$NATS_IMAGE" make_nats
}

say() { printf 'engine: %s\n' "$*"; }

image() { # <name> <function that makes it>
  if docker image inspect "$1" >/dev/null 2>&1 || timeout "$PULL_LIMIT_S" docker pull -q "$1" >"$LOG" 2>&1; then return; fi
  say "$1 cannot be pulled; making a stand-in of it"
  root=$HOME_DIR/root
  rm -rf "$root" && mkdir -p "$root"
  "$2" "$1" >>"$LOG" 2>&1 || {
    tail -n 8 "$LOG"
    say "$1 cannot be made here (above: the end of $LOG)"
    exit 3
  }
  rm -rf "$root"
}

make_node() { # <name>
  local mirror settings
  mirror=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/bookworm/.*|\1|p;" | head -n 1)
  debootstrap --variant=minbase --include=ca-certificates,libstdc++6 bookworm "$root" ${mirror:+"$mirror"} || return 1
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  cp -L "/$CERTIFICATES" "$root/$CERTIFICATES" || return 1
  cp -L "$(command -v node)" "$root/usr/local/bin/node" || return 1
  mkdir -p "$root/usr/local/lib/node_modules" "$root/usr/local/etc"
  cp -a "$(npm root -g)/npm" "$root/usr/local/lib/node_modules/" || return 1
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  settings=$(npm config get globalconfig)
  if [[ -e $settings ]]; then cp "$settings" "$root/usr/local/etc/npmrc"; fi
  chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash node || return 1
  tar -C "$root" -c . | docker import -c 'CMD ["node"]' -c "ENV NODE_EXTRA_CA_CERTS=/$CERTIFICATES" \
    -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$1"
}

make_nats() { # <name>
  local server=$TOOLS/usr/sbin/nats-server library
  mkdir -p "$root"/{bin,tmp,usr/local/bin}
  cp "$(command -v busybox)" "$root/bin/busybox" || return 1
  chroot "$root" /bin/busybox --install -s /bin || return 1
  cp "$server" "$root/usr/local/bin/" || return 1
  ldd "$server" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library" || return 1; done
  chmod 1777 "$root/tmp"
  # As the official image does: options alone are options of the server.
  printf '#!/bin/sh\ncase $1 in -*) set -- nats-server "$@" ;; esac\nexec "$@"\n' >"$root/usr/local/bin/entrypoint"
  chmod +x "$root/usr/local/bin/entrypoint"
  tar -C "$root" -c . | docker import -c 'ENTRYPOINT ["entrypoint"]' -c 'CMD ["nats-server"]' -c 'EXPOSE 4222 8222 6222' \
    -c 'ENV PATH=/usr/local/bin:/bin' - "$1"
}

main
