"""Runs one input in this process, and finds what is wrong with how it was met."""

from __future__ import annotations

import gc
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from conformance.fuzz.case import OUTPUT, Case, Inputs
from conformance.runs import PROGRESS, snapshot
from conformance.worker import run_command

# What a killed run left unfinished goes at the next start, also of one that is refused
LEFTOVER = re.compile(rf"{OUTPUT}/\.(checkpoint-\d+|results)\.[a-z]+-")
LONGEST = 5000  # characters that one sentence may have
# "x.json: KeyError." and "no readable tokenizer: 'model'." say nothing to anybody
NOTHING_SAID = re.compile(
    r"(\S+: )*(no readable \w+: |cannot be read: )?(\w+(Error|Exception)|'\w*')\.?"
)
# What a run tells before it may be refused for something else
NOTICE = re.compile(
    r".* It is passed over\.|Resuming from |The tokenizer has \d+ tokens"
)
# fsspec, by which the datasets library opens a packed file, keeps one that is damaged
KEPT = re.compile(r"\.(gz|bz2|xz)$")
TRACKER = b"resource_tracker"  # Python's own; it ends with the process


@dataclass
class Ended:
    """How one input was met."""

    status: int
    said: str
    """On stderr."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with that; none, as it should be."""


def judged(case: Case, folder: Path, inputs: Inputs) -> Ended:
    """Runs the case in its folder."""
    before, sound = snapshot(folder), ages(inputs)
    open_before, temporary = open_files(), snapshot_of_temporary()
    children_before = children()
    with said() as err:
        with in_folder(folder):
            status = run_command(case.arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        ended = Ended(status, text_of(err))
    problems = ended.problems
    if status not in (0, 2):
        problems.append(f"the exit status is {status}, not 2")
    if status == 2:
        problems += wrong_with(ended.said, case.named)
    if status == 0 and case.must_fail:
        problems.append("it is malformed, and was not refused")
    changed = differences(before, snapshot(folder))
    changed = [name for name in changed if not LEFTOVER.match(name)]
    if status == 0:
        changed = [name for name in changed if name in before and not ours(name)]
    if changed:
        problems.append(f"changed or left behind: {changed[:9]}")
    if sound != ages(inputs):
        problems.append("the inputs of all runs were changed")
    left = sorted(snapshot_of_temporary() ^ temporary)
    if left:
        problems.append(f"left in the folder for temporary files: {left[:9]}")
    problems += left_open(open_before, children_before)
    return ended


def ours(name: str) -> bool:
    """In the output folder, where a run that went well may do as it does."""
    return Path(name).parts[0] in (OUTPUT, "other")


def wrong_with(said: str, named: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with a refusal; nothing where it is one good sentence."""
    if "Traceback" in said:
        yield "it shows a traceback"
    lines = [
        line
        for line in said.splitlines()
        if not PROGRESS.match(line) and not NOTICE.match(line)
    ]
    if len(lines) != 1:
        yield f"{len(lines)} lines on stderr, not one"
        return
    (line,) = lines
    if not line.strip() or NOTHING_SAID.fullmatch(line.strip()):
        yield "the sentence says nothing"
    if len(line) > LONGEST:
        yield f"the sentence has {len(line)} characters"
    if not any(name in line for name in named):
        yield f"the sentence names none of {', '.join(named)}"


def differences(before: dict, after: dict) -> list[str]:
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]


def ages(inputs: Inputs) -> list[tuple[str, int, int]]:
    """Of every file that all runs read, and of its folder."""
    found = ((path, os.stat(path)) for path in all_of(inputs.rows.parent))
    return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in found]


@cache
def all_of(top: Path) -> list[str]:
    """What is there at first: something new changes the age of its folder."""
    return [str(top), *sorted(map(str, top.rglob("*")))]


def snapshot_of_temporary() -> set[str]:
    found = {*os.listdir(tempfile.gettempdir())}
    # torch's own cache, which stays; transformers has it made for some models
    return {name for name in found if not name.startswith("torchinductor_")}


def open_files() -> dict[str, str]:
    """What each descriptor of this process leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one that listed them
            continue
    return found


def children() -> set[str]:
    """The processes that this one has begun, by their numbers."""
    me = os.getpid()
    return {*Path(f"/proc/self/task/{me}/children").read_text().split()}


def left_open(before: dict[str, str], children_before: set[str]) -> Iterator[str]:
    """Descriptors that are new since, and children."""
    if open_files().keys() - before.keys():
        gc.collect()
    found = open_files().items()
    new = [path for name, path in found if name not in before and not KEPT.search(path)]
    if new:
        yield f"left open: {new}"
    since = sorted(children() - children_before)
    living = [Path(f"/proc/{child}/cmdline").read_bytes() for child in since]
    others = [line for line in living if TRACKER not in line]
    if others:
        yield f"processes are left: {others}"


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """The command runs there, and takes it for the user's home."""
    before, home = Path.cwd(), os.environ.get("HOME", "/")
    os.chdir(folder)
    os.environ["HOME"] = str(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ["HOME"] = home


@contextmanager
def said() -> Iterator[int]:
    """The descriptor of a file that all is written to meanwhile that is for stderr."""
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        kept = os.dup(2)
        stack.callback(os.close, kept)
        os.dup2(file.fileno(), 2)
        stack.callback(os.dup2, kept, 2)
        if sys.stderr is not sys.__stderr__:  # pytest has it elsewhere
            theirs = io.FileIO(2, "w", closefd=False)
            # As Python's own stderr, which takes half a character, too
            mine = io.TextIOWrapper(theirs, "utf-8", "backslashreplace")
            stack.enter_context(redirect_stderr(mine))
        yield file.fileno()


def text_of(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = b""
    while more := os.read(descriptor, 1 << 20):
        content += more
    return content.decode(errors="replace")
