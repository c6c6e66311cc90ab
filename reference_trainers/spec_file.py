"""A spec in a file, or as a mapping, as the command line that it stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reference_trainers.errors import InputError, sentence_of
from reference_trainers.spec_rules import kinds

FILE_ENDINGS = (".json", ".yaml", ".yml")
NOT_ONE = (Mapping, list, tuple, set, bytes)


def flags_of_file(path: Path) -> list[str]:
    """The flags that a JSON or YAML file stands for."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = _pairs_of_json(text) if path.suffix == ".json" else _pairs_of_yaml(text)
        if pairs is None:
            raise InputError(f"{path}: give one mapping of flag names to values.")
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{path}: {name} comes twice. Give it once.")
        return flags_of_dict(dict(pairs))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from error
    except Exception as error:  # of either library
        raise InputError(f"{path}: {sentence_of(error)}") from error


Pairs = Sequence[tuple[Any, Any]]
"""Names and values; a dictionary would keep the last of two in silence."""


def _pairs_of_json(text: str) -> Pairs | None:
    """None: it is no mapping."""
    pairs: list[Pairs] = []

    def keep(found: Pairs) -> dict[Any, Any]:
        pairs.append(found)  # the outermost is the last
        return dict(found)

    content = json.loads(text, object_pairs_hook=keep)
    return pairs[-1] if isinstance(content, dict) else None


def _pairs_of_yaml(text: str) -> Pairs | None:
    """None: it is no mapping."""
    import yaml  # here: most runs come without a file

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            return None
        names = [key.value for key, _ in node.value]
        content = loader.construct_document(node)
    finally:
        loader.dispose()
    if not isinstance(content, dict):  # a !!set, say
        return None
    twice = [(name, None) for name in names if names.count(name) > 1]
    return twice or [*content.items()]


def flags_of_dict(values: Mapping[str, Any]) -> list[str]:
    """The command line of a mapping; None stands for the default."""
    flags = []
    for name, value in values.items():
        kind = kinds().get(str(name).replace("-", "_"))
        if "=" in str(name):
            raise InputError(f"--{name}: no such flag; a name holds no =.")
        if isinstance(value, NOT_ONE):
            what = "a mapping" if isinstance(value, Mapping) else "a list"
            raise InputError(f"--{name}: give one value, not {what}.")
        if value is False and kind is not None and "no" in kind.choices:
            value = "no"  # which YAML reads as False
        if value is not None:
            # With "=", so that a text that begins with a dash stays a value.
            flags.append(f"--{name}={value}")
    return flags
