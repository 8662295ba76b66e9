#!/usr/bin/env bash
# Runs a command as root on another kernel: in a virtual machine that has this machine's files.
#
#   infra/kernels/run.sh [--out directory] [--limit seconds] [--memory MiB] <kernel> <command> [argument...]
#
# <kernel> is a directory of build/kernels/ (fetch.sh). The command starts in the same directory with the same PATH. It
# may write everywhere; what it writes is lost with the machine, except in the --out directory, which has the same path
# inside. It prints to our stdout. Network: loopback of its own. Needs root (mounts) and infra/kernels/packages.sh.
#
# Nothing outlives this script, however it ends: the machine and its file servers live in namespaces of their own, for
# processes and for mounts, which the kernel ends with their first process; scratch files are in a tmpfs there.
#
# Exit codes: the command's; 2 wrong usage, 3 not possible on this machine, 124 time limit, 125 the machine crashed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
SCRATCH=$ROOT/build/kernels/.run # a mount point
KVM_BOOT_LIMIT_S=20
FILE_SERVER_LIMIT_S=10
PATH=$PATH:/usr/sbin:/sbin

main() {
  out='' limit_s=600 memory_mib=2048
  while [[ ${1:-} == --* ]]; do
    [[ $# -ge 2 ]] || usage
    case $1 in
      --out) out=$(realpath "$2") ;;
      --limit) limit_s=$2 ;;
      --memory) memory_mib=$2 ;;
      *) usage ;;
    esac
    shift 2
  done
  [[ $# -ge 2 && $limit_s =~ ^[0-9]+$ && $memory_mib =~ ^[0-9]+$ ]] || usage
  kernel=$ROOT/build/kernels/$1
  shift
  command=("$@")

  if [[ -n ${FLOWTAG_KERNELS_CONTAINED:-} ]]; then
    run_contained
  else
    check
    contain
  fi
}

say() { printf 'kernels: %s\n' "$*" >&2; }

die() { # <exit code> <line>
  say "$2"
  exit "$1"
}

usage() {
  die 2 'usage: infra/kernels/run.sh [--out directory] [--limit seconds] [--memory MiB] <kernel> <command> [argument...]'
}

check() {
  ((EUID == 0)) || die 3 'not root: the root file system cannot be mounted for the virtual machine'
  "$HERE/packages.sh"
  [[ -e $kernel/vmlinuz ]] || die 2 "there is no kernel in $kernel; infra/kernels/fetch.sh gets one"
  [[ -z $out || -d $out ]] || die 2 "--out: $out is not a directory"
  mkdir -p "$SCRATCH"
}

# unshare blocks SIGINT and SIGTERM while it waits, so we stay in front of it to be interruptible.
contain() {
  FLOWTAG_KERNELS_CONTAINED=1 setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --mount-proc --kill-child=KILL \
    bash "$HERE/run.sh" ${out:+--out "$out"} --limit "$limit_s" --memory "$memory_mib" "${kernel##*/}" "${command[@]}" &
  local contained=$!
  trap 'kill -KILL "$contained"; exit 143' TERM INT HUP
  wait "$contained"
}

# --- in namespaces of our own, as their first process

run_contained() {
  mount -t tmpfs tmpfs "$SCRATCH"
  mkdir "$SCRATCH"/{root,initramfs}
  view_of_root
  make_initramfs >"$SCRATCH/initramfs.gz"
  cd "$SCRATCH" # the path of a socket has to be short

  local status=0 accelerator=tcg
  # /dev/kvm alone proves nothing: kvm_pvm, of clouds that nest, emulates an ordinary kernel's privileged instructions.
  if [[ -w /dev/kvm && (-d /sys/module/kvm_intel || -d /sys/module/kvm_amd) ]]; then accelerator=kvm; fi
  exec 3> >(exec cat) # QEMU makes its stdout non-blocking; ours is shared with whoever called us
  local reader=$!
  boot "$accelerator" || status=$?
  if [[ $accelerator == kvm ]] && ! started; then
    say "no start with KVM in $KVM_BOOT_LIMIT_S s; emulating: $(head -c 300 qemu.log)"
    status=0
    boot tcg || status=$?
  fi
  exec 3>&-
  wait "$reader"
  if [[ -s status ]]; then exit "$(tr -d '\r\n' <status)"; fi
  say 'the virtual machine gave no result; the end of its console:'
  tail -n 40 console >&2
  grep -hv '^fv_\|^virtio_' ./*.log >&2 || true # the file servers' chatter
  if ((status == 124)); then die 124 "not done in $limit_s s"; fi
  die 125 "the virtual machine ended by itself (QEMU: $status)"
}

started() { grep -qs '^guest: ' console; }

# Read-only, and without /proc, /sys, /dev and other mounts, except those that hold what the command needs.
view_of_root() {
  local path mount_point
  mount --bind / "$SCRATCH/root"
  mount -o remount,ro,bind "$SCRATCH/root"
  for path in /usr "$ROOT" "$PWD"; do
    mount_point=$(findmnt --noheadings --output TARGET --target "$path")
    if mountpoint -q "$SCRATCH/root$mount_point"; then continue; fi
    mount --bind "$mount_point" "$SCRATCH/root$mount_point"
    mount -o remount,ro,bind "$SCRATCH/root$mount_point"
  done
}

# busybox, the modules that reach the root file system, and what to do there.
make_initramfs() {
  local directory=$SCRATCH/initramfs release module file number=100
  release=$(ls "$kernel/lib/modules")
  mkdir "$directory"/{bin,modules,proc,sys,dev,host,memory,root}
  cp "$(command -v busybox)" "$directory/bin/busybox"
  install -m 755 "$HERE/guest-init.sh" "$directory/init"
  cp "$HERE/guest-main.sh" "$directory/main"
  {
    printf 'RELEASE=%q MODULES=%q OUT=%q\n' "$release" "$kernel/lib/modules/$release" "$out"
    # By its path: the shell that reads this prefers what busybox has under a program's name.
    printf 'run() {\n  cd %q &&\n  exec /usr/bin/env PATH=%q' "$PWD" "$PATH"
    printf ' %q' "${command[@]}"
    printf '\n}\n'
  } >"$directory/settings"
  for module in virtio_pci virtiofs overlay; do
    modprobe -d "$kernel" -S "$release" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do # in this order
    number=$((number + 1))
    case $file in
      *.xz) xz -dc "$file" ;;
      *) cat "$file" ;;
    esac >"$directory/modules/$number.ko"
  done
  (cd "$directory" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1)
}

boot() { # kvm|tcg
  local cpu=host qemu=() servers=()
  # QEMU 7.2 emulates 5-level paging slowly, and after an emulated CMPXCHG16B Linux 6.12 crashed in 12 of 32 boots.
  if [[ $1 == tcg ]]; then cpu=max,la57=off,cx16=off; fi
  rm -f console status ./*.log ./*.socket
  serve root "$SCRATCH/root" always # (it changes its directory)
  if [[ -n $out ]]; then serve out "$out" auto; fi
  # Serial ports in order: the kernel's console, the command's output, its exit code.
  timeout -k 5 "$limit_s" qemu-system-x86_64 -accel "$1" -cpu "$cpu" -M q35 -m "$memory_mib" -smp 2 \
    -nodefaults -no-user-config -no-reboot -display none \
    -serial file:console -chardev stdio,id=output,signal=off -serial chardev:output -serial file:status \
    -object memory-backend-memfd,id=memory,size="$memory_mib"M,share=on -machine memory-backend=memory \
    -kernel "$kernel/vmlinuz" -initrd initramfs.gz -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
    "${qemu[@]}" </dev/null >&3 2>qemu.log &
  local machine=$! status=0
  if [[ $1 == kvm ]]; then
    local deadline=$((SECONDS + KVM_BOOT_LIMIT_S))
    until started || ! kill -0 "$machine" 2>/dev/null || ((SECONDS > deadline)); do sleep 0.2; done
    started || kill "$machine" 2>/dev/null || true
  fi
  { wait "$machine" || status=$?; } 2>/dev/null # bash tells of an abort, too
  kill "${servers[@]}" 2>/dev/null || true
  return "$status"
}

serve() { # <tag> <directory> <cache>: a file server; adds to qemu and servers
  local program=/usr/libexec/virtiofsd
  [[ -x $program ]] || program=/usr/lib/qemu/virtiofsd
  "$program" --socket-path="$1.socket" -o "source=$2,cache=$3,sandbox=chroot" >"$1.log" 2>&1 3>&- &
  servers+=($!)
  qemu+=(-chardev "socket,id=$1,path=$1.socket" -device "vhost-user-fs-pci,chardev=$1,tag=$1")
  local deadline=$((SECONDS + FILE_SERVER_LIMIT_S))
  until [[ -S $1.socket ]]; do
    ((SECONDS < deadline)) || die 125 "no file server for $2: $(cat "$1.log")"
    sleep 0.05
  done
}

main "$@"
