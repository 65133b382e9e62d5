#!/bin/sh
# Boots a machine for a test: systemd as process 1 of namespaces of its own, over a copy-on-write view of this
# machine's files. Nothing that happens in there reaches the machine around it. Called by machine.py.
#
#   boot.sh out FOLDER CGROUP   outside: makes the namespaces and goes on with
#   boot.sh in FOLDER           inside: lays the files and becomes systemd
set -eu

outside() {
    # A control group of its own, which is the root of the hierarchy for who is inside.
    mkdir "$2"
    echo $$ >"$2/cgroup.procs"
    exec unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup --propagation private "$0" in "$1"
}

inside() {
    files=$1
    mount -t tmpfs -o mode=755 tmpfs "$files"
    root=$files/root
    mkdir "$files/upper" "$files/work" "$root"
    mount -t overlay -o "lowerdir=/,upperdir=$files/upper,workdir=$files/work" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    groups "$root/sys/fs/cgroup"
    devices "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    # Only what systemd needs itself, and nothing of what this machine starts.
    find "$root/etc/systemd/system" -path '*.wants/*' -delete
    ln -sf /lib/systemd/system/basic.target "$root/etc/systemd/system/default.target"
    for unit in systemd-udevd systemd-udev-trigger systemd-modules-load systemd-sysctl systemd-remount-fs \
        systemd-networkd systemd-resolved systemd-timesyncd systemd-update-utmp systemd-firstboot; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
    done
    printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
    rm -f "$root/etc/resolv.conf"
    printf 'nameserver 127.0.0.1\n' >"$root/etc/resolv.conf"
    # Packages that are installed in here may start their services, as on any machine.
    rm -f "$root/usr/sbin/policy-rc.d"
    ip link set lo up
    cd "$root"
    mkdir -p .around
    pivot_root . .around
    umount -l /.around
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=journal
}

# The control groups, in the form that the kernel around us uses.
groups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        mount -t cgroup2 cgroup2 "$1"
    else
        mount -t tmpfs -o mode=755 tmpfs "$1"
        mkdir "$1/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$1/systemd"
    fi
}

# The devices that a service can expect, and no hardware.
devices() {
    mount -t tmpfs -o mode=755 tmpfs "$1"
    mkdir "$1/pts" "$1/shm"
    for device in null:3 zero:5 full:7 random:8 urandom:9; do
        mknod -m 666 "$1/${device%:*}" c 1 "${device#*:}"
    done
    mknod -m 666 "$1/tty" c 5 0
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$1/pts"
    ln -s pts/ptmx "$1/ptmx"
    mount -t tmpfs -o mode=1777 tmpfs "$1/shm"
}

case $1 in
out) outside "$2" "$3" ;;
in) inside "$2" ;;
esac
