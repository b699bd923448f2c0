# SPDX-License-Identifier: BSD-3-Clause
"""Counts the cases of a JUnit file as meson writes it.

Prints "N passed, N failed, N skipped" and, on stderr, each failure and skip by
name. A suite that ran nothing counts as a failure.
"""
import sys
import xml.etree.ElementTree as ET


def main():
    passed = failed = skipped = 0
    try:
        root = ET.parse(sys.argv[1]).getroot()
    except (OSError, ET.ParseError) as e:
        print(f"count.py: {sys.argv[1]}: {e}", file=sys.stderr)
        print("0 passed, 1 failed, 0 skipped")
        return
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}/{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"FAILED  {name}", file=sys.stderr)
        elif case.find("skipped") is not None:
            skipped += 1
            print(f"skipped {name}", file=sys.stderr)
        else:
            passed += 1
    if passed + failed + skipped == 0:
        failed = 1
        print("FAILED  no test ran", file=sys.stderr)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


main()
