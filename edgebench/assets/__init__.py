"""Model and data files by URI and sha256: fetched once, cached per user, checked on every use.

The cache is `$EDGEBENCH_CACHE`, or the user's cache folder for `edgebench`:

    assets/<sha256>/<name>         a file or folder, put there whole by one rename
    assets/<sha256>/.edgebench     what it is, and its files' sizes and times as last checked
    files/<sha256>                 the same of a `file:` asset, which stays where it is
    models/                        what is derived from assets (see `edgebench.models`)
    tmp/, locks/                   downloads in progress
"""

from .asset_cache import cache_dir, cached, check, file_sha256, folder_sha256
from .download_progress import Progress, terminal_progress
from .fetch import Need, fetch, fetch_each, needs_of

__all__ = [
    "Need",
    "Progress",
    "cache_dir",
    "cached",
    "check",
    "fetch",
    "fetch_each",
    "file_sha256",
    "folder_sha256",
    "needs_of",
    "terminal_progress",
]
