#!/bin/sh
# Makes the root file system of tests/rig/bare_debian.py and runs systemd in it; in namespaces of its own.
#
#   bare_debian.sh ARCHIVE PLACE HOST_NAME
set -eu
archive=$1 place=$2 name=$3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$place"
cd "$place"
tar --extract --file "$archive"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 none run
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom tty; do cp -a "/dev/$device" dev/; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs none dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

mkdir old
pivot_root . old
umount -l /old
rmdir /old
hostname "$name"
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost %s\n' "$name" >/etc/hosts
rm -f /etc/resolv.conf
: >/etc/machine-id
touch /furnished
export container=smtpguard
exec /lib/systemd/systemd --system --unit=multi-user.target
