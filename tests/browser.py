"""Opens a page in headless Chromium, and looks at pictures of it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest


def opened(folder: Path, html: str, fragment: str, *flags: str) -> str:
    """What Chromium prints: ``opened(folder, html, "#state=fail", "--dump-dom")``."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("not run: chromium is not installed")
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900"]
    command += ["--virtual-time-budget=3000", *flags, f"{path.as_uri()}{fragment}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def without_policy(html: str) -> str:
    """A page that lets a test's own script in."""
    return re.sub(r"<meta http-equiv=[^>]*>", "", html)


def text(html: str) -> str:
    """What a reader sees, on one line."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def looked_at(picture: Path) -> tuple[int, int]:
    """Of a PNG: the first byte of its corner, and how many kinds of rows it has."""
    content = picture.read_bytes()
    width, height, depth, kind = struct.unpack(">IIBB", content[16:26])
    assert (width, height, depth) == (1200, 900, 8)
    packed, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        at += length + 12
    data = zlib.decompress(packed)
    row = width * {2: 3, 6: 4}[kind] + 1  # the way it is stored, then its colours
    kinds = {data[start : start + row] for start in range(0, len(data), row)}
    return data[1], len(kinds)  # a corner has no neighbour to be stored by
