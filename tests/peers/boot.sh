#!/usr/bin/env bash
# boot.sh DIRECTORY, as the first process of new namespaces (unshare): mounts an overlay of this
# machine's root that keeps changes in memory, copies DIRECTORY/files into it, and executes systemd
# there, without the machine's services. /conduct, from DIRECTORY/files/conduct, runs as root; the
# files that it writes to /out are in DIRECTORY/out.
set -euo pipefail
here=$1 root=$1/root scratch=$1/scratch
mount --make-rprivate /
mkdir -p "$root" "$scratch" "$here/out"
mount -t tmpfs none "$scratch"
mkdir "$scratch/upper" "$scratch/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc none "$root/proc"
mount -t sysfs none "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t bpf none "$root/sys/fs/bpf"
for directory in run tmp dev; do mount -t tmpfs none "$root/$directory"; done
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm,mqueue,hugepages}
mount -t devpts none "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$root/dev/ptmx"
mkdir -p "$root/out"
mount --bind "$here/out" "$root/out"
ip link set lo up
# Masks the machine's own services. Only the units that DIRECTORY/files adds to /etc/systemd/system
# remain.
for wants in "$root"/{usr/lib,etc}/systemd/system/*.wants/*; do
  [ ! -L "$wants" ] || ln -sf /dev/null "$root/etc/systemd/system/${wants##*/}"
done
: >"$root/etc/fstab"
cp -a "$here/files/." "$root/"
cd "$root"
mkdir -p old
pivot_root . old
umount -l old
mount --make-rshared /
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
touch /out/built
/conduct >/out/conduct 2>&1 &
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --system --unit=empty.target --log-target=null --show-status=no
