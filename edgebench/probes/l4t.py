"""The release of Jetson Linux (L4T), as its file says it."""

from __future__ import annotations

import re


def l4t_version(release: str | None) -> str | None:
    """ "36.5.0" of "# R36 (release), REVISION: 5.0, ...", the text of /etc/nv_tegra_release."""
    match = re.search(r"R([0-9]+).*?REVISION: *([0-9.]+)", release or "")
    return f"{match[1]}.{match[2]}" if match else None
