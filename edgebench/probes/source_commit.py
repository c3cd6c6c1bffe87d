"""The commit of the checkout that a run was started in: what a history of results is laid along."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

GIT_TIMEOUT_S: Final = 5.0
_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def source_commit(folder: Path) -> str | None:
    """The hash of HEAD, with "+" behind it where tracked files were changed; None where there is no checkout."""
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if head is None or not _HASH.fullmatch(head):
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head + "+" if changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails, is missing or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
