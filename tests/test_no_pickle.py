"""No path that reads a user's file unpickles anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import reference_trainers

FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "np.load", "numpy.load", "read_pickle"}


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if any(called == c or called.endswith(f".{c}") for c in FORBIDDEN_CALLS):
                yield called
            continue
        else:
            continue
        yield from (n for n in names if n.partition(".")[0] in FORBIDDEN_MODULES)


def test_no_module_can_unpickle() -> None:
    """None imports a module that unpickles, nor calls a function that may."""
    top = Path(reference_trainers.__file__).parent
    found = {
        path.relative_to(top).as_posix(): list(offences(path.read_text()))
        for path in top.rglob("*.py")
    }
    assert len(found) > 20
    assert {name: bad for name, bad in found.items() if bad} == {}


def test_the_search_finds_what_it_is_for() -> None:
    assert list(offences("import pickle")) == ["pickle"]
    assert list(offences("from torch import nn; torch.load(f)")) == ["torch.load"]
    assert list(offences("x = np.load(f, allow_pickle=True)")) == ["np.load"]
