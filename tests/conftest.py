"""Settings of the whole suite."""

from __future__ import annotations

import os

from hypothesis import settings

# A deadline would make a busy machine fail tests; in CI, the same examples every time.
settings.register_profile("edgebench", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("edgebench")
