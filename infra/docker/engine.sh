#!/usr/bin/env bash
# A Docker engine with Compose, for the tests and for machines that have none.
#
#   eval "$(infra/docker/engine.sh up)"      prints on stdout what a shell needs to use it
#   infra/docker/engine.sh down              ends the one that `up` started, and nothing else
#
# An engine that answers already, with Compose, is used as it is. Otherwise Debian's packages are unpacked (iptables is
# installed) and a dockerd is started that keeps everything below build/docker/ and starts no system service. It changes
# neither the machine's firewall nor its forwarding: containers see each other and nobody else, published ports are on
# 127.0.0.1, and image builds use the machine's network. DOCKER_ENGINE=own starts that one in any case.
#
# Exit codes: 0 there, 1 it did not start or stop (the message says why), 2 wrong usage, 3 not possible on this machine.
set -euo pipefail
exec 3>&1 1>&2

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HOME_DIR=$ROOT/build/docker
TOOLS=$HOME_DIR/tools
SOCKET=$HOME_DIR/docker.sock
PID_FILE=$HOME_DIR/docker.pid
LOG=$HOME_DIR/dockerd.log
START_LIMIT_S=60
STOP_LIMIT_S=60
LOCK_WAIT_S=600

main() {
  case ${1:-} in
    up) up ;;
    down) down ;;
    *) die 2 'usage: infra/docker/engine.sh up|down' ;;
  esac
}

say() { printf 'engine: %s\n' "$*"; }

die() { # <exit code> <line>...
  local code=$1
  shift
  printf 'engine: %s\n' "$@"
  exit "$code"
}

up() {
  if [[ ${DOCKER_ENGINE:-} != own ]] && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
    "$ROOT/infra/docker/base-images.sh"
    return
  fi
  mkdir -p "$HOME_DIR"
  exec 8>"$HOME_DIR/.lock"
  flock -w "$LOCK_WAIT_S" 8 || die 1 "another run holds $HOME_DIR/.lock and does not end: fuser -v $HOME_DIR/.lock"
  ((EUID == 0)) || die 3 'no Docker engine with Compose answers, and only root can start one; see https://docs.docker.com/engine/install'
  "$ROOT/infra/docker/packages.sh" "$TOOLS" 8>&-
  export PATH=$TOOLS/usr/bin:$TOOLS/usr/sbin:$PATH:/usr/sbin:/sbin
  export DOCKER_HOST=unix://$SOCKET DOCKER_CONFIG=$HOME_DIR/config
  mkdir -p "$DOCKER_CONFIG/cli-plugins"
  ln -sf "$TOOLS/usr/libexec/docker/cli-plugins/docker-compose" "$DOCKER_CONFIG/cli-plugins/"
  running || start
  "$ROOT/infra/docker/base-images.sh" 8>&-
  # Ryuk, which removes what a crashed test left, has no image here: the whole engine goes when the tests are over.
  cat >&3 <<-END
	export DOCKER_HOST='$DOCKER_HOST' DOCKER_CONFIG='$DOCKER_CONFIG' PATH='$TOOLS/usr/bin':"\$PATH"
	export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1 TESTCONTAINERS_RYUK_DISABLED=true
	END
}

running() { [[ -e $PID_FILE ]] && kill -0 "$(<"$PID_FILE")" 2>/dev/null && docker info >/dev/null 2>&1; }

start() {
  rm -f "$PID_FILE"
  setsid dockerd --data-root "$HOME_DIR/data" --exec-root "$HOME_DIR/exec" -H "unix://$SOCKET" -p "$PID_FILE" \
    --ip 127.0.0.1 --iptables=false --ip-forward=false </dev/null >"$LOG" 2>&1 3>&- 8>&- &
  local pid=$! deadline=$((SECONDS + START_LIMIT_S))
  until docker info >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
      kill "$pid" 2>/dev/null || true
      tail -n 8 "$LOG"
      die 3 "dockerd does not run on this machine (above: the end of $LOG)"
    fi
    sleep 0.2
  done
  say "dockerd $(docker version -f '{{.Server.Version}}') runs as pid $pid; end it with: infra/docker/engine.sh down"
}

down() {
  [[ -e $PID_FILE ]] || return 0
  local pid deadline=$((SECONDS + STOP_LIMIT_S)) running
  pid=$(<"$PID_FILE")
  # Containers go with it: removed, so that their mounts and bridges do not stay.
  export DOCKER_HOST=unix://$SOCKET PATH=$TOOLS/usr/bin:$PATH
  mapfile -t running < <(docker ps -aq 2>/dev/null)
  if ((${#running[@]} > 0)); then docker rm -f "${running[@]}" >/dev/null; fi
  docker network prune -f >/dev/null 2>&1 || true
  kill "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    ((SECONDS <= deadline)) || die 1 "dockerd (pid $pid) does not end"
    sleep 0.2
  done
  rm -f "$PID_FILE"
  # Left by dockerd; another engine may be using it.
  if ! pgrep -x dockerd >/dev/null && [[ -e /sys/class/net/docker0 ]]; then ip link delete docker0; fi
}

main "$@"
