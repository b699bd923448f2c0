# SPDX-License-Identifier: BSD-3-Clause
"""Counts the cases of a run of meson's tests.

    count.py LOG [AGAIN]     LOG is .../meson-logs/testlog: .json and .junit.xml
    count.py --failed LOG    the names of the tests that failed, a line each

Prints "N passed, N failed, N skipped" and, on stderr, each failure and skip by
name. Tests that ran once more, into the log AGAIN, count as they did there.

The JUnit file has the cases within a test, but not that a test crashed after
its last case, ended with a failure, or left out cases: those are in the JSON
file only, and count as one failure more. A suite that ran nothing is a failure.
"""
import json
import sys
import xml.etree.ElementTree as ET

GOOD = ("OK", "EXPECTEDFAIL", "SKIP")


def short(name):
    return name.rsplit(" / ", 1)[-1]


def load(log):
    """{test: (its result, [(case, passed|failed|skipped)])}"""
    tests = {}
    with open(log + ".json", encoding="utf-8") as f:
        for line in f:
            t = json.loads(line)
            tests[short(t["name"])] = (t["result"], [])
    for suite in ET.parse(log + ".junit.xml").getroot():
        for case in suite.iter("testcase"):
            # A test with cases is a suite of its own.
            own = suite.get("name", "") if " / " in suite.get("name", "") \
                else case.get("name", "")
            if case.find("failure") is not None or case.find("error") is not None:
                what = "failed"
            elif case.find("skipped") is not None:
                what = "skipped"
            else:
                what = "passed"
            tests[short(own)][1].append((case.get("name", ""), what))
    return tests


def main():
    args = sys.argv[1:]
    names_only = args[0] == "--failed"
    if names_only:
        args = args[1:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        tests = load(args[0])
        if len(args) > 1:
            again = load(args[1])
            for name, (result, _) in again.items():
                if result in GOOD:
                    print(f"FLAKY   {name}: failed once, passed alone", file=sys.stderr)
            tests.update(again)
    except (OSError, ValueError, KeyError, ET.ParseError) as e:
        if not names_only:
            print(f"FAILED  count.py: {args[0]}: {e!r}", file=sys.stderr)
            print("0 passed, 1 failed, 0 skipped")
        return
    for name, (result, cases) in tests.items():
        bad = result not in GOOD
        if names_only:
            if bad or any(what == "failed" for _, what in cases):
                print(name)
            continue
        for case, what in cases:
            counts[what] += 1
            if what != "passed":
                word = "FAILED " if what == "failed" else "skipped"
                print(f"{word} {name}: {case}", file=sys.stderr)
        if bad and not any(what == "failed" for _, what in cases):
            counts["failed"] += 1
            print(f"FAILED  {name}: {result} outside of its cases", file=sys.stderr)
    if names_only:
        return
    if not sum(counts.values()):
        counts["failed"] = 1
        print("FAILED  no test ran", file=sys.stderr)
    print(", ".join(f"{n} {what}" for what, n in counts.items()))


main()
