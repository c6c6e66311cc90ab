"""What a profile sets waits for the library, however often that is only looked for."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from conformance.prepare import after_import


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "a_library.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_library"
    sys.modules.pop("a_library", None)


def test_it_is_done_once_as_soon_as_the_library_is_imported(library):
    finders = list(sys.meta_path)
    done = []
    after_import(library, lambda module: done.append(module.VALUE))
    for _ in range(2):  # as transformers looks for what is installed
        assert importlib.util.find_spec(library) is not None
    assert done == []
    importlib.import_module(library)
    assert done == [1]
    assert sys.meta_path == finders


def test_a_library_that_is_there_already_is_changed_at_once(library):
    importlib.import_module(library)
    done = []
    after_import(library, lambda module: done.append(module.VALUE))
    assert done == [1]


def test_a_library_that_is_not_installed_changes_nothing():
    after_import("not_installed", print)
    assert importlib.util.find_spec("not_installed") is None
    sys.meta_path.pop(0)
