"""Two versions side by side in a temporary folder, which is always removed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reference_trainers import InputError

PACKAGE = "reference_trainers"
WORKING_TREE = "the working tree"


@dataclass(frozen=True)
class Version:
    """One side of the comparison."""

    side: str
    """base or head: names of one length, so that no path is longer than the other."""
    label: str
    path: Path
    """Holds a copy of `reference_trainers`, and nothing else: for PYTHONPATH."""
    tree: Path
    """The whole checkout."""


@contextmanager
def checked_out(
    root: Path, base: str, head: str | None
) -> Iterator[tuple[Version, Version]]:
    """Base, and head (None: the working tree), of the repository at `root`.

    Both are copied alike, so that nobody's edit changes a version while it is measured.
    """
    commits = {"base": _commit(root, "--base", base)}
    if head is not None:
        commits["head"] = _commit(root, "--head", head)
    folder = Path(tempfile.mkdtemp(prefix="gate-")).resolve()
    try:
        trees = {side: folder / f"{side}.tree" for side in commits}
        for side, commit in commits.items():
            _git(root, "worktree", "add", "--detach", "--quiet", trees[side], commit)
        trees.setdefault("head", root)
        labels = {"base": base, "head": WORKING_TREE if head is None else head}
        for side, commit in commits.items():
            labels[side] = f"{labels[side]} ({commit[:12]})"
        yield (
            _version("base", labels["base"], folder, trees["base"]),
            _version("head", labels["head"], folder, trees["head"]),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(root, "worktree", "prune")  # forgets those whose folder is gone


def _version(side: str, label: str, folder: Path, tree: Path) -> Version:
    if not (tree / PACKAGE / "__init__.py").is_file():
        raise InputError(
            f"--{side}: {label} holds no package {PACKAGE}; name a later commit."
        )
    path = folder / side
    shutil.copytree(
        tree / PACKAGE, path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    return Version(side, label, path, tree)


def _commit(root: Path, flag: str, ref: str) -> str:
    name = f"{ref}^{{commit}}"
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    found = _run(root, *asked)
    if found.returncode:
        inside = _run(root, "rev-parse", "--git-dir")
        if inside.returncode:
            raise InputError(f"{flag} {ref}: {root} is no clone of a git repository.")
        raise InputError(
            f"{flag} {ref}: there is no such commit here. Name one that `git log` "
            "shows, or fetch it: a shallow clone has only the last."
        )
    return found.stdout.strip()


def _git(root: Path, *arguments: str | Path) -> None:
    ended = _run(root, *arguments)
    if ended.returncode:
        words = " ".join(map(str, arguments[:2]))
        raise InputError(f"git {words} failed: {ended.stderr.strip()}")


def _run(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True
        )
    except FileNotFoundError:
        raise InputError("git is not installed, and the gate needs it.") from None
