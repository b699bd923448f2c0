# SPDX-License-Identifier: BSD-3-Clause
"""The contents of a device as far as the wire shows it: what a read brings has
to be what was written before. Sectors under concurrent writes are unknown."""

SECTOR = 512


class Shadow:
    def __init__(self):
        self.known = {}    # sector -> its bytes
        self.writers = {}  # sector -> requests that write it now

    def write_begins(self, req, first, count):
        for s in range(first, first + count):
            self.known.pop(s, None)
            others = self.writers.setdefault(s, set())
            if others:
                req.alone = False
                for other in others:
                    other.alone = False
            others.add(req)

    def write_ends(self, req, first, data, count, good):
        """data None: the contents are unknown from now on."""
        for i, s in enumerate(range(first, first + count)):
            self.writers[s].discard(req)
            if not self.writers[s]:
                del self.writers[s]
                if good and req.alone and data is not None:
                    self.known[s] = data[i * SECTOR:(i + 1) * SECTOR]

    def read_begins(self, first, count):
        """What the read has to bring; a token for read_ends()."""
        return [self.known.get(s) for s in range(first, first + count)]

    def read_ends(self, token, first, data):
        """Number of sectors that agree, and the first one that does not."""
        agree = 0
        for i, want in enumerate(token):
            # Written again in between: cannot be judged.
            if want is None or self.known.get(first + i) is not want:
                continue
            if data[i * SECTOR:(i + 1) * SECTOR] != want:
                return agree, first + i
            agree += 1
        return agree, None
