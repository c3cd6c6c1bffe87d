"""Builds the model of a git revision of the user's repository; cached by commit and command."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgebench.ab_test.cached_folder import make_once
from edgebench.ab_test.runtime_environments import told_run
from edgebench.errors import AssetError, UsageError
from edgebench.models.weight_files import weights_beside
from edgebench.text.plain_text import say

BUILD_TIME_OUT_S = 3600.0


def build_model(revision: str, command: str, artifact: str, cache: Path, repository: Path) -> Path:
    """The file that `command` leaves at `artifact` in a checkout of `revision`, with weights beside it.

    The command runs by the shell in a worktree of its own, so that uncommitted work is neither touched
    nor seen. Raises UsageError for a revision that is none, AssetError where the build fails.
    """
    commit = commit_of(revision, repository)
    key = hashlib.sha256(f"{commit}\n{command}\n{artifact}".encode()).hexdigest()[:16]
    kept = cache / "revisions" / key / Path(artifact).name

    def build() -> None:
        say(f"building {artifact} of {revision} ({commit[:10]})")
        _build(repository, commit, command, artifact, kept)

    make_once(kept.parent, build)
    return kept


def commit_of(revision: str, repository: Path) -> str:
    """The hash of the commit that `revision` names now. Raises UsageError for a revision that is none."""
    asked = ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    commit = None if revision.startswith("-") else _git(repository, *asked)
    if commit is None:
        raise UsageError(
            f"git:{revision}: {repository} has no such revision",
            "name a branch, a tag or a commit; in CI, check out with fetch-depth: 0",
        )
    return commit


def _build(repository: Path, commit: str, command: str, artifact: str, kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="edgebench-rev-") as parent:
        tree = Path(parent) / "tree"
        if _git(repository, "worktree", "add", "--detach", str(tree), commit) is None:
            raise AssetError(f"git cannot check {commit[:10]} out into {tree}")
        try:
            what = f"building {artifact}"
            done = told_run(command, what, BUILD_TIME_OUT_S, shell=True, cwd=tree)
            lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            if done.returncode != 0:
                why = lines[-1] if lines else "it printed nothing"
                raise AssetError(
                    f"{command!r} ended with code {done.returncode} at {commit[:10]}: {why}"
                )
            built = tree / artifact
            if not built.is_file() or not built.resolve().is_relative_to(tree.resolve()):
                raise AssetError(f"{command!r} left no file {artifact} at {commit[:10]}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            for weights in weights_beside(built):
                if not weights.resolve().is_relative_to(tree.resolve()):
                    raise AssetError(f"{artifact} at {commit[:10]} has its weights elsewhere")
                place = kept.parent / weights.relative_to(built.parent)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(weights, place)
            shutil.copyfile(built, kept)
        except subprocess.TimeoutExpired:
            raise AssetError(f"{command!r} took more than {BUILD_TIME_OUT_S:g} s") from None
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree))


def _git(repository: Path, *arguments: str) -> str | None:
    """Returns what git prints, or None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", "name model files instead of revisions") from None
    return done.stdout.strip() if done.returncode == 0 else None
