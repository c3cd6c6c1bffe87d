#!/bin/bash
# The first process of User-mode Linux: mounts what programs expect, runs the checks of a board, and switches off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run; mkdir -p /run/tmp /run/home; chmod 1777 /run/tmp
for word in $(cat /proc/cmdline); do case $word in board=*|modules=*|python=*|checkout=*) export "${word?}";; esac; done
export TMPDIR=/run/tmp HOME=/run/home NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$checkout
cd "$checkout" && "$python" -m tests.kernel.guest "$board" "$modules" 2>&1
echo o > /proc/sysrq-trigger; sleep 60
