"""What a third party may use is there by name, and costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import reference_trainers

OTHERS = ("Self", "None", "Mapping", "SupportsFloat")


def test_every_name_is_there():
    homes = [name for names in reference_trainers._HOMES.values() for name in names]
    assert sorted(homes) == sorted(reference_trainers.__all__)
    for name in reference_trainers.__all__:
        assert getattr(reference_trainers, name) is not None
        assert name in dir(reference_trainers)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'Saver'"):
        _ = reference_trainers.Saver


def test_what_a_backend_is_asked_for_is_public():
    """Each type of ours in the signatures of `Trainer` and `Backend`."""
    for protocol in (reference_trainers.Trainer, reference_trainers.Backend):
        for member in vars(protocol).values():
            for hint in getattr(member, "__annotations__", {}).values():
                for name in hint.replace("[", " ").replace("]", " ").split():
                    known = name.strip(",").isidentifier() and name[0].isupper()
                    if known and name not in (
                        "Self",
                        "None",
                        "Mapping",
                        "SupportsFloat",
                    ):
                        assert name.strip(",") in reference_trainers.__all__, name


def test_importing_the_package_imports_no_library():
    code = "import sys, reference_trainers; print('numpy' in sys.modules)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
