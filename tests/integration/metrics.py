"""Looks at pages of metrics with Prometheus' own parser; see metrics.sh."""
import json
import re
import socket
import sys
import threading
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def families(path):
    with open(path, encoding="utf-8") as f:
        return list(text_string_to_metric_families(f.read()))


def samples(path):
    """{(name, label text): value}"""
    ret = {}
    for fam in families(path):
        for s in fam.samples:
            key = (s.name, tuple(sorted(s.labels.items())))
            assert key not in ret, f"twice: {key}"
            ret[key] = s.value
    return ret


def value(page, name, **labels):
    return page[(name, tuple(sorted(labels.items())))]


def expect(what, got, want):
    assert got == want, f"{what}: {got}, not {want}"


def sample_names(page):
    """What a query can name, families without series included."""
    ret = set()
    suffix = {
        "counter": ["_total"],
        "info": ["_info"],
        "histogram": ["_bucket", "_count", "_sum"],
    }
    for fam in families(page):
        for s in suffix.get(fam.type, [""]):
            ret.add(fam.name + s)
    return ret


# ------------------------------------------------------------------ commands


def parse(page, least="40"):
    found = families(page)
    assert len(found) > int(least), len(found)
    for fam in found:
        assert fam.documentation, f"{fam.name}: no help"
        if fam.unit:
            assert fam.name.endswith("_" + fam.unit), fam.name
        if fam.type == "histogram":
            check_histogram(fam)


def check_histogram(fam):
    series = {}
    for s in fam.samples:
        labels = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
        series.setdefault(labels, {})[s.name[len(fam.name):], s.labels.get("le")] = s.value
    for labels, vals in series.items():
        counts = [v for (kind, le), v in vals.items() if kind == "_bucket"]
        bounds = [float(le) for (kind, le) in vals if kind == "_bucket"]
        assert counts == sorted(counts), f"{labels}: {counts}"
        assert bounds == sorted(bounds) and bounds[-1] == float("inf"), bounds
        expect(f"{labels} +Inf", counts[-1], vals["_count", None])
        assert (vals["_sum", None] > 0) == (counts[-1] > 0), labels


def names(page, srcdir):
    """The manual page has each name, and the examples use no other."""
    known = sample_names(page)
    plain = {re.sub("_(bucket|count|sum)$", "", n) if n.endswith(("_bucket", "_count", "_sum")) else n
             for n in known}
    with open(f"{srcdir}/gateway/rnbd-metrics.7.pod", encoding="utf-8") as f:
        documented = set(re.findall(r"^=item B<((?:rnbd_gateway|process)_\w+)>", f.read(), re.M))
    expect("documented, not exported", documented - plain, set())
    expect("exported, not documented", plain - documented, set())
    with open(f"{srcdir}/gateway/rnbd-metrics.7.pod", encoding="utf-8") as f:
        reasons = {r for line in re.findall(r"^=item (C<.*)$", f.read(), re.M)
                   for r in re.findall(r"C<(\w+)>", line)}
    exported = {dict(labels)["reason"] for (n, labels) in samples(page)
                if n == "rnbd_gateway_rejects_total"}
    expect("reasons, documented or exported only", reasons ^ exported, set())
    pattern = r"\b(?:rnbd_gateway|process)_[a-z_]+\b"
    for name in ("gateway/rnbd-metrics.7.pod", "config/examples/rnbd-alerts.yml",
                 "config/examples/grafana-dashboard.json"):
        with open(f"{srcdir}/{name}", encoding="utf-8") as f:
            used = set(re.findall(pattern, f.read()))
        assert used, f"{name} uses none"
        expect(f"{name}: not exported", used - known - plain, set())
    with open(f"{srcdir}/config/examples/grafana-dashboard.json", encoding="utf-8") as f:
        dashboard(json.load(f))


def client_names(page, srcdir):
    """The manual page has each name of a client, and no other."""
    plain = {re.sub("_(bucket|count|sum)$", "", n) if n.endswith(("_bucket", "_count", "_sum")) else n
             for n in sample_names(page)}
    with open(f"{srcdir}/gateway/rnbd-metrics.7.pod", encoding="utf-8") as f:
        documented = set(re.findall(r"^=item B<(rnbd_client_\w+)>", f.read(), re.M))
    expect("documented or exported only", documented ^ plain, set())


def dashboard(d):
    assert d["title"] and d["schemaVersion"] >= 36 and d["panels"], "no dashboard"
    ids = [p["id"] for p in d["panels"]]
    expect("panel ids", len(set(ids)), len(ids))
    for p in d["panels"]:
        pos = p["gridPos"]
        assert pos["x"] + pos["w"] <= 24, p["title"]
        if p["type"] == "row":
            continue
        assert p["targets"], p["title"]
        for t in p["targets"]:
            assert t["expr"].count("(") == t["expr"].count(")"), t["expr"]
            assert t["datasource"]["uid"] == "${datasource}", p["title"]


def exports(page, *wanted):
    p = samples(page)
    for name in wanted:
        for op in ("read", "write", "flush", "discard", "write_zeroes"):
            for kind in ("operations", "errors"):
                expect(f"{name} {op}", value(p, f"rnbd_gateway_export_{kind}_total",
                                             export=name, operation=op), 0)


# What metrics.sh does between the two pages.
DONE = {
    "disk": {
        "read": (5, 5 * 8192),
        "write": (7, 7 * 4096),
        "flush": (2, 0),
        "discard": (1, 65536),
        "write_zeroes": (1, 4096),
    },
    "ro": {"read": (3, 3 * 512)},
}
SESSION = {"disk": "one", "ro": "two"}


def io(before, after):
    b, a = samples(before), samples(after)
    for export, ops in DONE.items():
        device = {"session": SESSION[export], "export": export}
        for kind, labels in (("export", {"export": export}), ("device", device)):
            for op in ("read", "write", "flush", "discard", "write_zeroes"):
                n, size = ops.get(op, (0, 0))

                def moved(what):
                    key = (f"rnbd_gateway_{kind}_{what}",
                           tuple(sorted({**labels, "operation": op}.items())))
                    # A device has no histogram of what it never did.
                    return a.get(key, 0) - b.get(key, 0)

                expect(f"{kind} {export} {op} operations", moved("operations_total"), n)
                expect(f"{kind} {export} {op} errors", moved("errors_total"), 0)
                expect(f"{kind} {export} {op} bytes", moved("bytes_total"), size)
                expect(f"{kind} {export} {op} latencies", moved("latency_seconds_count"), n)
        expect("devices", value(a, "rnbd_gateway_export_devices", export=export), 1)
        expect("in flight", value(a, "rnbd_gateway_export_inflight", export=export), 0)
    expect("size", value(a, "rnbd_gateway_device_size_bytes", session="one", export="disk"), 16 << 20)
    expect("sessions", total(a, "rnbd_gateway_worker_sessions"), 2)
    expect("open", total(a, "rnbd_gateway_worker_opens_total")
           - total(a, "rnbd_gateway_worker_closes_total"), 2)
    expect("paths", total(a, "rnbd_gateway_worker_paths_connected"), 2)
    expect("connects", total(a, "rnbd_gateway_worker_connects_total"),
           total(a, "rnbd_gateway_listener_requests_total"))
    expect("chunks", total(a, "rnbd_gateway_worker_chunk_memory_bytes"),
           total(a, "rnbd_gateway_path_chunk_memory_bytes"))
    for name in ("worker_busy_seconds_total", "worker_idle_seconds_total", "worker_waits_total"):
        assert total(a, "rnbd_gateway_" + name) > total(b, "rnbd_gateway_" + name), name
    assert abs(value(a, "process_start_time_seconds") - time.time()) < 3600
    assert value(a, "process_open_fds") > 10
    assert value(a, "process_resident_memory_bytes") > 1 << 20


def total(page, name):
    return sum(v for (n, _), v in page.items() if n == name)


def rejected(before, after, reason):
    b, a = samples(before), samples(after)
    name = "rnbd_gateway_rejects_total"
    assert value(a, name, reason=reason) > value(b, name, reason=reason), reason


def kept(before, after):
    b, a = samples(before), samples(after)
    for key, v in b.items():
        if key[0].startswith("rnbd_gateway_export_") and ("export", "disk") in key[1]:
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
                expect(key, a[key], v)
    expect("devices", value(a, "rnbd_gateway_export_devices", export="disk"), 0)


# --------------------------------------------------------------------- abuse


def closes(sock, seconds):
    """The server ends the connection, whatever it says before."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    sock.close()


def abuse(addr):
    host, port = addr.split("/")[0].rsplit(":", 1)
    addr = host, int(port)
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

    def client(data=b""):
        s = socket.create_connection(addr, timeout=20)
        s.sendall(data)
        return s

    # Nonsense, headers and bodies beyond the limits.
    big = b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 20000 + b"\r\n\r\n"
    body = b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"
    nonsense = []
    for data in (b"\0" * 100 + b"\r\n\r\n", b"x" * 20000, big, body,
                 b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
        nonsense.append(client())
        try:
            nonsense[-1].sendall(data)
        except ConnectionError:
            pass
    # They ask and leave, or leave in the middle.
    for data in (request, request[:20], b""):
        for _ in range(50):
            client(data).close()
    # More than are served at once, all reading, and some of them slowly.
    slow = [client(b"GET /met") for _ in range(5)]
    results = []

    def read():
        s = client(request)
        text = b""
        while True:
            got = s.recv(65536)
            if not got:
                break
            text += got
        s.close()
        results.append(text.endswith(b"# EOF\n"))

    threads = [threading.Thread(target=read) for _ in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("readers", results, [True] * 60)
    # All places are taken by those who say nothing: they are ended, and who
    # waits is served.
    idle = [client() for _ in range(16)]
    read()
    expect("after the idle", results[-1], True)
    for s in nonsense + slow + idle:
        closes(s, 40)


COMMANDS = {f.__name__: f for f in (parse, names, client_names, exports, io, rejected, kept, abuse)}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
