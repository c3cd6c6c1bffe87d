"""Keeps what a target's tests found as a selfcheck of an emulated device: a real library, and no device under it.

`python -m tests.ci.junit_to_check JUNIT CLAIM MACHINE OUT [NOTE]`: JUNIT is what pytest wrote, CLAIM one of
edgebench.selfcheck.claims; NOTE says what was left out of a run in part.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree

from msgspec.structs import replace

from edgebench import __version__
from edgebench.installed_packages import installed_version
from edgebench.selfcheck.check_file import Answer, CheckFile
from edgebench.selfcheck.claims import BY_KEY
from edgebench.selfcheck.pack import check_text

#: Claim -> the distribution that was asked.
_LIBRARIES = {"backend.trt.build": "tensorrt-rtx-cu13-bindings"}


def answer(junit: str, claim: str) -> Answer:
    """What the tests say of a claim. Without a test that passed nothing was asked."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ElementTree.fromstring(junit).iter("testsuite"):
        for name in counts:
            counts[name] += int(suite.get(name, 0))
    wrong = counts["failures"] + counts["errors"]
    passed = counts["tests"] - wrong - counts["skipped"]
    detail = f"{passed} tests passed, {wrong} failed, {counts['skipped']} skipped"
    version = (claim in _LIBRARIES and installed_version(_LIBRARIES[claim])) or ""
    if wrong:
        return Answer(claim=claim, status="failed", detail=detail, version=version)
    return Answer(
        claim=claim, status="ok" if passed else "not here", detail=detail, version=version
    )


def main() -> int:
    junit, claim, machine = sys.argv[1:4]
    out = Path(sys.argv[4])
    found = answer(Path(junit).read_text(encoding="utf-8"), claim)
    found = replace(found, detail="; ".join((found.detail, *sys.argv[5:6])))
    assert claim in BY_KEY, claim
    date = datetime.now(timezone.utc).date().isoformat()
    file = CheckFile(
        machine=machine, device="emulated", date=date, edgebench=__version__, answers=(found,)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(check_text(file, ()), encoding="utf-8")
    print(f"{claim}: {found.status}: {found.detail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
