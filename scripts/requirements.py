"""Lock files on standard input → standard output: each package once, but those named as arguments and setuptools."""

from __future__ import annotations

import re
import sys

LEFT_OUT = {"setuptools", *sys.argv[1:]}

seen: set[str] = set()
for entry in re.split(r"(?m)^(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", sys.stdin.read())):
    name = entry.partition("==")[0]
    if entry.strip() and name not in seen and name not in LEFT_OUT:
        seen.add(name)
        sys.stdout.write(entry)
