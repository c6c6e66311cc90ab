"""Known limits are read strictly: an entry that says nothing true is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from conformance.catalogue import laws
from conformance.plugin.limits import Limit, limit_of, read_limits
from reference_trainers import InputError

TODAY = date(2026, 11, 26)
GOOD = """\
[[limit]]
law = "resume.bit-exact"
profile = "cpu"
reason = "It draws masks of its own."
expires = 2026-11-26
"""


@pytest.fixture(autouse=True, scope="module")
def all_laws() -> None:
    laws()


def read(folder: Path, text: str) -> tuple[Limit, ...]:
    path = folder / "limits.toml"
    path.write_text(text, encoding="utf-8")
    return read_limits(path, TODAY)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.toml: No such file"):
        read_limits(tmp_path / "nosuch.toml", TODAY)


def test_a_limit_covers_its_law_trainer_and_profile(tmp_path: Path) -> None:
    limits = read(tmp_path, GOOD + 'link = "https://example.org/1"\n')
    held, other = laws()["resume.bit-exact"], laws()["resume.best"]
    found = limit_of(limits, held, "mine:TRAINER", "cpu")
    assert found is not None
    assert found.why == "It draws masks of its own. https://example.org/1"
    assert limit_of(limits, held, "mine:TRAINER", "cpu-bf16") is None
    assert limit_of(limits, other, "mine:TRAINER", "cpu") is None
    one = read(tmp_path, GOOD + 'trainer = "flax"\n')
    assert limit_of(one, held, "mine:TRAINER", "cpu") is None
    assert limit_of(one, held, "flax", "cpu") is not None


def test_a_star_is_every_profile_of_the_law(tmp_path: Path) -> None:
    (limit,) = read(tmp_path, GOOD.replace('"cpu"', '"*"'))
    assert limit.profiles == laws()["resume.bit-exact"].profiles
    (limit,) = read(tmp_path, GOOD.replace('"cpu"', '["cpu", "cpu-x2"]'))
    assert limit.profiles == ("cpu", "cpu-x2")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("2026-11-26", "2026-11-25", "limit 1: the limit of .* expired on 2026-11-25"),
        ("2026-11-26", '"soon"', "expires is to be a day"),
        ("resume.bit-exact", "resume.nothing", "there is no law 'resume.nothing'"),
        ('"cpu"', '"cpu-p4"', "not cpu-p4: the limit matches nothing"),
        ('"cpu"', '"abacus"', "there is no such profile"),
        ('"cpu"', "7", "a list of names"),
        ('"cpu"', "[]", "a list of names"),
        ("reason", "because", "because is none of law, profile"),
        ('"It draws masks of its own."', '""', "reason is to be a text"),
        ("[[limit]]", "[limits]", r"below a \[\[limit\]\] line"),
        ("[[limit]]", "[[", "limits.toml: "),
        ('law = "resume.bit-exact"\n', "", "law is missing"),
    ],
)
def test_what_is_no_limit_is_refused(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, GOOD.replace(old, new))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_limits(tmp_path / "none.toml", TODAY)
