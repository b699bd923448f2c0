#!/usr/bin/python3
"""Stands for nbd-client and the kernel's nbd, below $RNBD_ROOT.

A device that is connected has a process that keeps the connection, as the
kernel does: its pid is in keeper, that of "nbd-client" in pid.
"""
import os
import signal
import sys

import nbd

root = os.environ["RNBD_ROOT"]
args = sys.argv[1:]


def sysfs(dev, name):
    return os.path.join(root, "sys/block", dev.removeprefix("/dev/"), name)


def fail(text):
    print("Error: " + text, file=sys.stderr)
    print("Exiting.", file=sys.stderr)
    sys.exit(1)


def connect(sock, dev, name):
    if os.path.exists(os.path.join(root, "crash-before")):
        os.kill(os.getppid(), signal.SIGKILL)
    h = nbd.NBD()
    h.set_export_name(name)
    try:
        h.connect_unix(sock)
    except nbd.Error as e:
        fail("the server says: %s" % e.string)
    # The kernel connects a device or does not: nothing ends us in between.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # As the kernel does: who comes second is told so.
    os.makedirs(sysfs(dev, ""), exist_ok=True)
    try:
        fd = os.open(sysfs(dev, "pid"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        fail("Failed to setup device, check dmesg")
    for attr, value in ("size", h.get_size() // 512), ("ro", int(h.is_read_only())):
        with open(sysfs(dev, attr), "w") as f:
            f.write("%d\n" % value)
    open(os.path.join(root, dev.lstrip("/")), "w").close()
    keeper = os.fork()
    if not keeper:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for i in 0, 1, 2:
            os.close(i)
        signal.pause()
        os._exit(0)
    with open(sysfs(dev, "keeper"), "w") as f:
        f.write("%d\n" % keeper)
    os.write(fd, b"%d\n" % os.getpid())
    os.close(fd)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if os.path.exists(os.path.join(root, "no-more-state")):
        os.mkdir(os.path.join(root, "run/rnbd/client/s%3A1.json.new"))
    if os.path.exists(os.path.join(root, "crash-after")):
        os.kill(os.getppid(), signal.SIGKILL)


def disconnect(dev):
    with open(sysfs(dev, "keeper")) as f:
        os.kill(int(f.read()), signal.SIGTERM)
    os.unlink(sysfs(dev, "pid"))


if args[0] == "-d":
    disconnect(args[1])
elif args[0] == "-unix" and args[3] == "-N" and len(args) == 5:
    connect(args[1], args[2], args[4])
else:
    sys.exit("unknown arguments: %s" % args)
