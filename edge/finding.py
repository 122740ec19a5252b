"""A finding of `mien check`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    status: str
    """OK, WARN or FAIL."""
    text: str
    mend: str = ""
    """What to do; empty if nothing."""

    def __str__(self) -> str:
        return f"{self.status:5}{self.name:13}{self.text}" + (f"\n{'':18}→ {self.mend}" if self.mend else "")

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)
