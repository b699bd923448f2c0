#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The daemon, or nbdkit with the plugin, with calls that fail (see fault.h):
the n-th of a kind, for n from 1 until none fails any more.

Each round starts both programs, one of them with the wrappers, opens the
device, writes, reads, flushes and closes, and ends both. A program that cannot
start says so in a line; what fails later is an error of that request, and works
when it is tried again. No crash, no hang, nothing left allocated at the end.

usage: programs.py daemon|plugin KINDS [MODE [STEP [WIDTH]]]
RNBD_FAULTS_LISTEN: "ip:ADDRESS", for RDMA; without the port (tcp:127.0.0.1)
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

GATEWAYD = os.environ["RNBD_GATEWAYD"]
GATEWAYD_FAULTY = os.environ["RNBD_GATEWAYD_FAULTY"]
PLUGIN = os.environ["RNBD_PLUGIN"]
PLUGIN_FAULTY = os.environ["RNBD_PLUGIN_FAULTY"]
LISTEN = os.environ.get("RNBD_FAULTS_LISTEN", "tcp:127.0.0.1")
HANGS = 40  # seconds

CLIENT = r"""
import sys
def tries(what, fn):
    for i in range(6):
        try:
            return fn()
        except nbd.Error as e:
            last = e
    sys.exit("%s fails again and again: %s" % (what, last))
def work():
    n = nbd.NBD()
    n.connect_unix(sys.argv[1])
    data = bytes([7]) * 65536
    tries("write", lambda: n.pwrite(data, 0))
    tries("FUA", lambda: n.pwrite(data[:4096], 65536, nbd.CMD_FLAG_FUA))
    tries("flush", n.flush)
    if tries("read", lambda: n.pread(65536, 0)) != data:
        sys.exit("other data")
    tries("trim", lambda: n.trim(4096, 65536))
    tries("zero", lambda: n.zero(4096, 4096))
    tries("odd write", lambda: n.pwrite(b"abc", 1001))
    if tries("odd read", lambda: n.pread(3, 1001)) != b"abc":
        sys.exit("other data")
    n.shutdown()
tries("the connection", work)
tries("the connection", work)
"""


class Bad(Exception):
    pass


class Program:
    """A process with its stderr in a file."""

    def __init__(self, name, argv, env, out=None):
        self.name = name
        self.log = os.path.join(tmp, name + ".log")
        with open(self.log, "w") as err:
            self.proc = subprocess.Popen(
                argv, env=env, stderr=err, stdin=subprocess.DEVNULL,
                stdout=out or subprocess.DEVNULL, text=True)

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait(self):
        try:
            rc = self.proc.wait(HANGS)
        except subprocess.TimeoutExpired:
            self.proc.send_signal(signal.SIGABRT)
            self.proc.wait()
            raise Bad(self.name + " hangs:\n" + self.said())
        if rc < 0:
            raise Bad("%s: killed by signal %d:\n%s" %
                      (self.name, -rc, self.said()))
        return rc

    def refused(self):
        """It did not start: did it say why?"""
        rc = self.wait()
        lines = [l for l in self.said().splitlines() if "rror" in l]
        if rc == 0 or not lines or any("(null)" in l for l in lines):
            raise Bad("%s ends with %d and says %s" %
                      (self.name, rc, lines or "nothing"))
        for l in lines:
            refusals.add(re.sub(r"[0-9/]\S*", "N", l))

    def end(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        rc = self.wait()
        if rc:
            raise Bad("%s ends with %d:\n%s" % (self.name, rc, self.said()))

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()


def start_daemon(faulty, env):
    argv = [GATEWAYD_FAULTY if faulty else GATEWAYD, "--foreground",
            "--workers", "1", "--queue-depth", "16", "--sandbox", "no",
            "--listen", LISTEN + ":0", "--export", "disk=file:" + disk]
    d = Program("daemon", argv, env if faulty else None, subprocess.PIPE)
    line = d.proc.stdout.readline()
    if not line:
        d.refused()
        return None
    d.path = line.strip().removeprefix("listening on ")
    return d


def start_nbdkit(faulty, env, path):
    sock, pid = os.path.join(tmp, "sock"), os.path.join(tmp, "pid")
    for f in sock, pid:
        if os.path.exists(f):
            os.unlink(f)
    argv = ["nbdkit", "-f", "-P", pid, "-U", sock, PLUGIN_FAULTY if faulty else PLUGIN,
            "sessname=s", "path=" + path, "device_path=disk",
            "connections=2", "reconnect-delay=0.01", "connect-timeout=2",
            "io-timeout=10"]
    p = Program("nbdkit", argv, env if faulty else None)
    while not os.path.exists(pid):
        if p.proc.poll() is not None:
            p.refused()
            return None
        time.sleep(0.002)
    p.sock = sock
    return p


def client(sock):
    try:
        r = subprocess.run(["/usr/bin/python3", "-c", "import nbd" + CLIENT,
                            sock], capture_output=True, text=True,
                           timeout=HANGS)
    except subprocess.TimeoutExpired:
        raise Bad("a client waits for ever")
    if r.returncode:
        raise Bad("client: " + r.stderr)


def serve(nbdkit):
    """False: it did not come up after all: sockets and pid file are there
    before it is ready."""
    try:
        client(nbdkit.sock)
    except Bad as e:
        try:
            nbdkit.proc.wait(1)
        except subprocess.TimeoutExpired:
            raise e from None
        nbdkit.refused()
        return False
    return True


def run_round(side, env):
    """True: the program with the wrappers ended in order."""
    daemon = nbdkit = None
    try:
        daemon = start_daemon(side == "daemon", env)
        if not daemon:
            return side == "daemon"
        nbdkit = start_nbdkit(side == "plugin", env, daemon.path)
        if not nbdkit and side == "daemon":
            # Its look at the device may have met the failure.
            nbdkit = start_nbdkit(False, env, daemon.path)
            if not nbdkit:
                raise Bad("nbdkit does not start")
        if nbdkit and not serve(nbdkit):
            nbdkit = None
        if nbdkit:
            nbdkit.end()
        daemon.end()
        return side == "daemon" or bool(nbdkit)
    except Bad as e:
        raise Bad("%s\n%s" % (e, daemon.said() if daemon else ""))
    finally:
        for p in nbdkit, daemon:
            if p:
                p.kill()


def judge(report, in_order):
    """What the wrappers wrote: how many calls failed. Of the processes (nbdkit
    tries the device in a child) the last one is the program itself; nbdkit
    that does not start lets go of nothing."""
    with open(report) as f:
        lines = f.read().splitlines()
    ends = [re.match(r"end: (\d+) calls, (\d+) failed, (\d+) blocks and "
                     r"(\d+) bytes left", l) for l in lines]
    ends = [m for m in ends if m]
    if ends and in_order and (int(ends[-1][3]) or int(ends[-1][4])):
        raise Bad("left over: %s blocks, %s bytes mapped" %
                  (ends[-1][3], ends[-1][4]))
    return len(lines) - len(ends)


def main():
    side, kinds = sys.argv[1:3]
    mode, step, width = (sys.argv[3:] + ["fail", "1", "1"][len(sys.argv) - 3:])
    n, rounds, bad = 1, 0, 0
    begin = time.monotonic()
    while True:
        report = os.path.join(tmp, "report")
        open(report, "w").close()
        env = dict(os.environ, FAULT_KINDS=kinds, FAULT_MODE=mode,
                   FAULT_NTH=str(n), FAULT_WIDTH=width, FAULT_REPORT=report)
        try:
            hits = judge(report, run_round(side, env))
        except Bad as e:
            bad += 1
            hits, lines = 1, open(report).read()
            print("FAILED: %s, call %d:\n%s%s" % (side, n, lines, e),
                  flush=True)
            if bad == 5:
                break
        if not hits:
            break
        rounds += 1
        n += int(step)
    print("%s, %s (%s): %d rounds with a failure, %d of them bad, in %.1f s; "
          "last call %d" % (side, kinds, mode, rounds, bad,
                            time.monotonic() - begin, n))
    if os.environ.get("FAULT_SHOW"):
        print("\n".join(sorted(refusals)))
    return 1 if bad or not rounds else 0


refusals = set()
with tempfile.TemporaryDirectory(prefix="rnbd-faults.") as tmp:
    disk = os.path.join(tmp, "disk")
    with open(disk, "w") as f:
        f.truncate(1 << 20)
    sys.exit(main())
