#!/bin/bash
# Makes the root file system of tests/rig/debian.py and runs its first process; in mount, process, host name and IPC
# namespaces of its own.
#
#   debian.sh CHECKOUT PLACE HOST_NAME ADDRESS INIT
#
# PLACE is an empty folder; INIT is `systemd`, or `none` for a host that has init scripts and no systemd.
set -eu
checkout=$1 place=$2 name=$3 address=$4 init=$5
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$place"
mkdir "$place"/{upper,work,root}
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
root=$place/root

# The file systems of the kernel, and few devices.
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 none "$root/run"
mkdir "$root/run/lock"
[ "$init" != systemd ] || mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 none "$root/dev"
for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs none "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# The checkout, where everybody may read it.
mkdir -p "$root/opt/src"
mount --rbind "$checkout" "$root/opt/src"

# And its Python, which may be below somebody's home, where services see nothing.
python=$("$checkout/.venv/bin/python" -c 'import sys; print(sys.base_prefix)')
if [ "$python" != /usr ]; then
    mkdir -p "$root/opt/python"
    mount --bind "$python" "$root/opt/python"
    python=/opt/python
fi

cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
cd /

hostname "$name"
echo "$name" >/etc/hostname
rm -f /etc/resolv.conf /etc/hosts
# No name server answers; the outsiders of setup's own questions, and those of the tests, have names without one.
cat >/etc/hosts <<END
127.0.0.1 localhost
$address $name ${name%%.*}
198.51.100.1 asked.example
127.0.0.25 outsiders.example
203.0.113.9 nobody.example
203.0.113.77 outsider.example
END
echo "nameserver 127.0.0.1" >/etc/resolv.conf
echo "$name" >/etc/mailname
useradd --create-home george

rm -f /var/lib/man-db/auto-update
# As after a fresh `apt-get install sendmail`: purged and installed, and nothing of it started yet.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
{
    dpkg --purge --force-depends sendmail sensible-mda sendmail-bin sendmail-base sendmail-cf
    rm -rf /etc/mail /var/log/mail.log
    dpkg --install /opt/src/.mtas/archives/*.deb
} >/var/log/install.log 2>&1 || { cat /var/log/install.log >&2; exit 1; }
rm /usr/sbin/policy-rc.d

# Before Debian's own, of another release.
[ ! -d /opt/python ] || { echo /opt/python/lib >/etc/ld.so.conf.d/00-python.conf; ldconfig; }
# smtpguard as README.md installs it, but that its files are the checkout's.
$python/bin/python3 -m venv --without-pip /opt/smtpguard
for folder in /opt/smtpguard/lib/python3*/site-packages; do
    printf '%s\n' /opt/src /opt/src/.venv/lib/python3*/site-packages >"$folder/checkout.pth"
done
printf '#!/opt/smtpguard/bin/python\nfrom smtpguard.cli.main import run\nrun()\n' >/opt/smtpguard/bin/smtpguard
chmod 755 /opt/smtpguard/bin/smtpguard

if [ "$init" = systemd ]; then
    # Of all that this machine has installed, the log alone.
    rm -f /etc/systemd/system/*.wants/* /etc/rc?.d/S*
    for link in 2 3 4 5; do ln -s ../init.d/sendmail "/etc/rc$link.d/S01sendmail"; done
    mkdir -p /etc/systemd/system/multi-user.target.wants
    ln -sf /lib/systemd/system/rsyslog.service /etc/systemd/system/multi-user.target.wants/rsyslog.service
    : >/etc/machine-id
    touch /furnished
    export container=smtpguard
    exec /lib/systemd/systemd --system --unit=multi-user.target
fi
rm -rf /run/systemd
rsyslogd
touch /furnished
# Reaps what is left to it.
while :; do
    sleep 1000 &
    wait $!
done
