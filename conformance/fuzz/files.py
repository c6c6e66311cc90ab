"""Malformed data files of a user's own."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from conformance.fuzz.case import ODD, Case, Inputs, command, damaged_bytes, short
from fixtures.custom_files import BAD_FILES, rows, unusual_rows

Made = tuple[str, str | bytes, bool]
"""What it is, the file's content, and whether it must be refused."""

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
SPLITS = {"train": "do_train", "validation": "do_eval", "test": "do_predict"}
CODINGS = ("utf-16", "utf-32", "utf-16-le", "cp037", "utf-7", "utf-8-sig", "latin-1")
# In the place of a cell of JSON
CELLS: tuple[Any, ...] = (
    *(None, True, 3, 1.5, [], {}, ["a"], {"a": {"b": 1}}, [[]], 10**400, "", " "),
    *("\ud800", "a\0", "\0", "NaN", "\ufeff", "x" * 100_000, "\u2028", 0, False),
)
# In the place of a row of JSON Lines
ROWS = (
    *("[]", "{}", "null", "3", '"a"', "{", "}", "[1, 2", '{"text"}', '{"text": }'),
    *("{'text': 'a', 'summary': 'b'}", '{"text": "a", "summary": "b",}', "NaN", "\0"),
    *('{"text": "a", "text": "b", "summary": "c"}', '{"text": NaN, "summary": "a"}'),
    *('{"a": 1} {"b": 2}', "// no", '{"text": "\\x"}', '{"text": "\\ud83d"}', "\x85"),
    *('{"text": "a\tb", "summary": "c"}', '{"text": 1e999, "summary": -0}', "\ufeff"),
    *("[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000),
)
# In the place of a line of CSV
LINES = (
    *('a,"b', '"a,b', 'a"b,c', '"a"b,c', '""",', ",,,,", ",", "a", "a,b,c", "\0,\0"),
    *('"a\nb\nc",d', "a\rb,c", "\r", "a;b", "a\tb", "\x1a", "\ufeffa,b", '"', '""'),
    *("x" * 100_000 + ",a", "a," * 3000, "\u2028,a", "=cmd(),a", "NA,NA", " , "),
)
HEADERS = (
    *("text,text", "text,", ",summary", ",", "", " ", "text", "text;summary", "\0,a"),
    *('"text,summary', '"text","summary', "text,summary,text", "\ufefftext,summary"),
    *("text\tsummary", "a\nb,c", '"a\nb",c', "é,東京", "text,summary,", "x" * 70_000),
)
NAMES = (
    *("rows", "rows", "rows", "rows", "a b", "é", "a\nb", "rows.tar", "%s", "-"),
    *("#", "rows.csv", "~", "🙂", "*", "a'b"),
)


def make(chance: Random, folder: Path, inputs: Inputs) -> Case:
    """A data file with one accident, of any of the three splits."""
    ending = chance.choice((".csv", ".csv", ".jsonl", ".json"))
    packing = chance.choice(("", "", "", *PACKED))
    name = f"{chance.choice(NAMES)}{ending}{packing}"
    if chance.random() < 0.02:
        name = chance.choice(("rows.txt", "rows", ".csv", "rows.gz", "rows.CSV.GZ"))
        packing = ".gz" if name.lower().endswith(".gz") else ""
    what, content, must_fail = chance.choice(MAKERS)(chance, ending)
    if isinstance(content, str):
        content = content.encode(errors="surrogatepass")
    split, reads_all = chance.choice((*SPLITS,)), chance.random() < 0.3
    if packing:
        also, content, damaged = _packed(chance, packing, content, reads_all)
        what, must_fail = what + also, must_fail or damaged
    path = folder / name
    match chance.randrange(80):
        case 0:
            what, must_fail = "a folder", True
            path.mkdir()
        case 1:
            what, must_fail = "not there", True
        case 2:
            what, must_fail = "a link to itself", True
            path.symlink_to(path.name)
        case 3:
            what, must_fail = "a pipe", True
            os.mkfifo(path)
        case _:
            path.write_bytes(content)
    flags = inputs.flags() | {SPLITS[split]: True, f"{split}_file": name}
    if chance.random() < 0.1:
        flag = chance.choice(("text_column", "summary_column"))
        flags[flag] = chance.choice(("text", "summary", "id", *ODD))
        what += f", --{flag} {short(flags[flag])}"
    if reads_all:
        flags[f"max_{'eval' if split == 'validation' else split}_samples"] = 100_000
    told = f"{short(name)} ({split}): {what}"
    names = ("--", Path(name).name.replace("\n", "\\n"))
    return Case(told, command(**flags), must_fail, names)


def _packed(
    chance: Random, packing: str, content: bytes, reads_all: bool
) -> tuple[str, bytes, bool]:
    """Packed, and now and then that went wrong.

    Of a file that is not read to its end, an end that is missing is not missed.
    """
    packed = PACKED[packing](content)
    match chance.randrange(10):
        case 0:
            other = PACKED[chance.choice([kind for kind in PACKED if kind != packing])]
            return ", packed as another kind", other(content), True
        case 1:
            return ", not packed at all", content, True
        case 2:
            return ", packed twice", PACKED[packing](packed), False
        case 3:
            cut = packed[: chance.randrange(1, len(packed))]
            return f", cut off after {len(cut)} packed bytes", cut, reads_all
        case 4 | 5:
            what, packed = damaged_bytes(chance, packed)
            return f", packed: {what}", packed, False
        case 6:
            junk = chance.randbytes(9)
            return ", junk behind it", packed + junk, False
    return ", packed", packed, False


def _text(ending: str, content: list[dict[str, Any]]) -> str:
    if ending == ".csv":
        lines = [",".join(f'"{_quoted(cell)}"' for cell in r.values()) for r in content]
        return "\n".join([",".join(content[0]), *lines]) + "\n"
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in content)
    return json.dumps(content)


def _quoted(cell: Any) -> str:
    return str(cell).replace('"', '""')


def _fixture(chance: Random, ending: str) -> Made:
    """One of the files that the laws refuse, under any name."""
    bad = BAD_FILES[chance.choice([*BAD_FILES])]
    with TemporaryDirectory() as folder:
        path = bad.write(Path(folder) / "bad")  # no ending: it is not packed
        return bad.name, path.read_bytes(), False


def _bytes(chance: Random, ending: str) -> Made:
    """An accident to the bytes of a sound file."""
    what, content = damaged_bytes(chance, _text(ending, unusual_rows()).encode())
    return what, content, not content


def _coding(chance: Random, ending: str) -> Made:
    coding = chance.choice(CODINGS)
    content = _text(ending, [{"text": "Zürich, é.", "summary": "Ü."}, *rows()])
    if ending != ".csv":
        content = content.encode().decode("unicode_escape")
    return coding, content.encode(coding), coding in ("utf-16", "utf-32")


def _line(chance: Random, ending: str) -> Made:
    """One odd line, or row, among sound ones."""
    lines = _text(".jsonl" if ending == ".json" else ending, rows()).splitlines()
    odd = chance.choice(LINES if ending == ".csv" else ROWS)
    at = chance.randrange(1, len(lines) + 1)
    lines.insert(at, odd)
    if ending == ".json" and chance.random() < 0.7:
        return f"row {at + 1} is {short(odd)}", f"[{', '.join(lines)}]", False
    return f"line {at + 1} is {short(odd)}", "\n".join(lines), False


def _header(chance: Random, ending: str) -> Made:
    """No sound header; in JSON, odd names."""
    if ending == ".csv":
        header = chance.choice(HEADERS)
        body = "\n".join(_text(ending, rows()).splitlines()[1:])
        return f"the header {short(header)}", f"{header}\n{body}\n", False
    first, second = chance.choice(ODD[:20]), chance.choice(ODD[:20])
    made = [{first: row["text"], second: row["summary"]} for row in rows()]
    return f"columns {short(first)}, {short(second)}", _text(ending, made), False


def _cell(chance: Random, ending: str) -> Made:
    """One cell of another type, or an odd text."""
    made = rows()
    at, column = chance.randrange(len(made)), chance.choice(("text", "summary"))
    cell = chance.choice(ODD if ending == ".csv" else CELLS)
    made[at][column] = cell
    if chance.random() < 0.2:
        made = [{**row, column: cell} for row in made]
        at = -1
    text = _text(ending, made)
    refused = isinstance(cell, (int, list, dict)) and 0 <= at < 2
    return f"{column} of row {at + 1} is {short(cell)}", text, refused


def _shape(chance: Random, ending: str) -> Made:
    """Something else than rows."""
    text = chance.choice((*ROWS, *SHAPES))
    return f"holds {short(text)}", text, not text.strip()


def _many(chance: Random, ending: str) -> Made:
    """Wide, or in another order in each row, or with other line ends."""
    names = [f"c{number}" for number in range(chance.choice((1, 3, 500)))]
    made: list[dict[str, Any]] = [
        dict.fromkeys(chance.sample(names, chance.randint(1, len(names))), "a b")
        for _ in range(5)
    ]
    if ending != ".csv":
        return f"ragged rows of {len(names)} columns", _text(ending, made), False
    end = chance.choice(("\r", "\r\n", "\n\r", "\n\n", "\0\n", "\x0b", ";\n"))
    text = _text(ending, rows()).replace("\n", end)
    return f"lines that end in {short(end)}", text, False


SHAPES = (
    *("", "\n", "\0" * 50, "[[]]", "[{}]", '{"a": {"b": {"c": 1}}}', '{"data": []}'),
    *('{"a": [{}], "b": [{}]}', '{"a": [1, 2]}', '[{"text": "a"}, [1]]', "text\n"),
    *("<html></html>", "PK\x03\x04", "%PDF-1.4", "{}\n{}\n", "[]\n[]\n", "null\nnull"),
    *("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "{}{}"),
)
MAKERS: tuple[Callable[[Random, str], Made], ...] = (
    *(_fixture, _bytes, _coding, _line, _line, _header, _cell, _shape, _many),
)
