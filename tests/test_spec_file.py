"""Spec files that say nothing, or two things at once."""

from __future__ import annotations

import pytest

from reference_trainers.cli import parse
from reference_trainers.errors import InputError, line_of

MANY = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 12))]
)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.yaml", "seed: 1\nseed: 2", "seed comes twice. Give it once."),
        ("a.json", '{"seed": 1, "seed": 2}', "seed comes twice. Give it once."),
        ("a.yaml", "!!set {seed}", "give one mapping of flag names to values."),
        ("a.json", "[{}]", "give one mapping of flag names to values."),
        ("a.yaml", "", "give one mapping of flag names to values."),
        ("a.yaml", "do_train: !!bool x", "'x' is missing or unknown."),
        ("a.yaml", "seed: [1]", "--seed: give one value, not a list."),
        ("a.json", '{"seed": {}}', "--seed: give one value, not a mapping."),
        ("a.json", '{"seed=1": 2}', "--seed=1: no such flag; a name holds no =."),
        ("a.yaml", f"{MANY}\nseed: *a11", "--a0: give one value, not a list."),
        ("a.yaml", f"seed: 0x{'f' * 9000}", "Exceeds the limit"),
        ("a\nb.json", "[]", "a\\nb.json: give one mapping of flag names to values."),
    ],
)
def test_a_spec_file_is_refused_in_one_line(tmp_path, name, content, sentence):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        parse([str(file)])
    line = line_of(refused.value)
    assert sentence in line and "\n" not in line


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    file = tmp_path / name
    file.write_text('{"seed": 7}', encoding="utf-8-sig")
    assert parse([str(file)]).seed == 7


def test_a_mapping_within_is_not_the_spec(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"seed": 7}]', encoding="utf-8")
    with pytest.raises(InputError, match="one mapping"):
        parse([str(file)])
