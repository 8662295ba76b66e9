#!/bin/busybox sh
# First process of the virtual machine, in its initramfs: the host's files, read-only, under an overlay in memory.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo "guest: kernel started after $(cut -d' ' -f1 /proc/uptime) s" >/dev/console

fail() {
  echo "guest: $*" >/dev/console
  poweroff -f
}

for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module" || fail "insmod $module"
done
mount -t virtiofs -o ro root /host || fail 'no root file system'
mount -t tmpfs -o size=60% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root || fail 'no overlay'

mkdir -p /root/proc /root/sys /root/dev /root/run
mount -t tmpfs run /root/run
mkdir /root/run/guest
cp /main /settings /bin/busybox /root/run/guest/
umount /proc /dev
mount -t devtmpfs dev /root/dev
# switch_root, not chroot: the kernel starts modprobe in the first root.
exec switch_root /root /run/guest/busybox sh /run/guest/main
