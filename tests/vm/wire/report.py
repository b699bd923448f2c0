# SPDX-License-Identifier: BSD-3-Clause
"""What was checked: for each field of each kind of message how often it was
right, which values it had, and each disagreement in a line of its own."""
from collections import Counter, OrderedDict

MAX_VALUES = 6
MAX_COMPLAINTS = 40


class Hex(int):
    """A number that reads better in hexadecimal."""

    def __str__(self):
        return f"0x{self:x}"


class Field:
    def __init__(self):
        self.good = self.bad = self.seen = 0
        self.values = Counter()


class Report:
    def __init__(self):
        self.kinds = OrderedDict()  # kind -> {field name -> Field}
        self.counts = Counter()     # kind -> messages
        self.complaints = []

    def message(self, kind):
        self.counts[kind] += 1
        self.kinds.setdefault(kind, OrderedDict())

    def _field(self, kind, name, got):
        fields = self.kinds.setdefault(kind, OrderedDict())
        f = fields.setdefault(name, Field())
        f.values[str(got)] += 1
        return f

    def rule(self, where, kind, name, right, got, rule):
        """A field is right, or breaks the rule (words)."""
        f = self._field(kind, name, got)
        if right:
            f.good += 1
        else:
            f.bad += 1
            self.complain(where, kind, f"{name} is {got}, {rule}")
        return right

    def equal(self, where, kind, name, got, want):
        return self.rule(where, kind, name, got == want, got,
                         f"has to be {want}")

    def seen(self, kind, name, got):
        """A field that has no rule."""
        self._field(kind, name, got).seen += 1

    def reserved(self, kind, name, data):
        """Bytes without a meaning: told, not judged."""
        if not any(data):
            got = "zero"
        elif len(data) > 16:
            got = f"not zero (first at {next(i for i, b in enumerate(data) if b)}"\
                  f" of {len(data)})"
        else:
            got = f"not zero: {data.hex()}"
        self.seen(kind, name, got)

    def complain(self, where, kind, text):
        self.complaints.append(f"{where}: {kind}: {text}")

    @property
    def checks(self):
        return sum(f.good + f.bad for fields in self.kinds.values()
                   for f in fields.values())

    def lines(self):
        for kind, fields in self.kinds.items():
            count = self.counts[kind]
            yield f"{kind}  ({count})" if count else kind
            for name, f in fields.items():
                values = [v if n == 1 else f"{v} x{n}"
                          for v, n in f.values.most_common(MAX_VALUES)]
                if len(f.values) > MAX_VALUES:
                    values.append(f"... {len(f.values)} values")
                if f.bad:
                    verdict = f"{f.bad} WRONG, {f.good} right"
                elif f.good:
                    verdict = f"{f.good} right"
                else:
                    verdict = f"{f.seen} seen"
                yield f"  {name:24} {verdict:12} {', '.join(values)}"
        for text in self.complaints[:MAX_COMPLAINTS]:
            yield f"DISAGREES  {text}"
        if len(self.complaints) > MAX_COMPLAINTS:
            yield f"... and {len(self.complaints) - MAX_COMPLAINTS} more"
        messages = sum(self.counts.values())
        yield (f"{messages} messages, {self.checks} fields checked, "
               f"{len(self.complaints)} disagree")
