"""Trainers are found by name or by module:attribute, and old versions refused."""

from __future__ import annotations

import sys
import types
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as real_version

import pytest

from reference_trainers import libraries, registry
from reference_trainers.errors import InputError
from reference_trainers.registry import (
    UNTOLD,
    SharedTrainer,
    find_trainer,
    listed,
    refusals_of,
)
from reference_trainers.spec import TrainingSpec

OURS = ["accelerate", "flax", "pytorch", "tensorflow"]


class SomeTrainer:
    """The least that is a `Trainer`."""

    name = "some"

    def run(self, spec):
        return spec


class SomeBackend:
    """As much of a `Backend` as is looked at before a run."""

    devices = 1
    pad_to_multiple_of = 1

    @classmethod
    def load(cls, spec, model):
        return cls()


@pytest.fixture
def third_party(monkeypatch):
    """A module of somebody else's."""
    module = types.ModuleType("somebody_else")
    contents = {"TRAINER": SomeTrainer(), "Backend": SomeBackend, "number": 3}
    for name, value in contents.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "somebody_else", module)
    return module


@pytest.fixture
def installed(monkeypatch):
    """Says which versions are installed: a version, or None for not at all."""

    def pretend(**versions):
        def version(name):
            found = versions.get(name, real_version)
            if found is None:
                raise PackageNotFoundError(name)
            return real_version(name) if found is real_version else found

        monkeypatch.setattr(libraries, "version", version)

    return pretend


def test_our_trainers_are_listed():
    assert sorted(found.name for found in listed()) == OURS
    assert all(found.runs_here == (found.reason is None) for found in listed())


def test_versions_are_those_of_the_extra(installed):
    known = {"accelerate": "1.15.0", "psutil": "7.2.2", "torch": "2.13.0"}
    installed(**known)
    found = {trainer.name: trainer for trainer in listed()}
    for name in ("accelerate", "pytorch"):
        assert found[name].versions == known
        assert found[name].runs_here


@pytest.mark.parametrize("torch", ["2.10.9", "1.13.1+cpu", "2.11.0.dev1"])
def test_older_versions_are_refused(installed, torch):
    installed(torch=torch, accelerate="1.15.0", psutil="7.2.2")
    with pytest.raises(InputError) as refused:
        find_trainer("pytorch")
    said = str(refused.value)
    assert said.startswith(
        f"--trainer pytorch: torch {torch} is too old, it must be >="
    )
    assert "pip install 'reference-trainers[pytorch]'" in said


@pytest.mark.parametrize("torch", ["2.11.0", "2.11.1+cu130", "3.0.0", "2.12.0rc1"])
def test_newer_versions_are_taken(installed, torch):
    installed(torch=torch, accelerate="1.15.0", psutil="7.2.2")
    assert next(t for t in listed() if t.name == "pytorch").runs_here


def test_missing_libraries_are_named(installed):
    installed(torch=None, accelerate=None)
    with pytest.raises(InputError, match="torch is not installed") as refused:
        find_trainer("accelerate")
    assert "accelerate is not installed" in str(refused.value)


def test_each_library_is_said_to_be_supported_or_not(installed):
    installed(torch="2.10.9", accelerate=None, transformers="5.1.0")
    found = next(trainer for trainer in listed() if trainer.name == "pytorch")
    states = {library.name: library.state for library in found.libraries}
    assert states["python"] == "supported"
    assert states["torch"] == states["transformers"] == "too old"
    assert states["accelerate"] == "not installed"
    assert "jax" not in states
    bounds = {library.name: library.bounds for library in found.libraries}
    assert bounds["torch"].startswith(">=")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=", ".join(OURS)):
        find_trainer("nobody")


def test_a_trainer_is_taken_as_it_is(third_party):
    assert find_trainer("somebody_else:TRAINER") is third_party.TRAINER


def test_a_backend_gets_the_shared_life_of_a_run(third_party):
    found = find_trainer("somebody_else:Backend")
    assert isinstance(found, SharedTrainer)
    assert found.name == "somebody_else:Backend"
    assert found.backend_class() is SomeBackend


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("somebody_else:number", "neither run .* nor load"),
        ("somebody_else:absent", "cannot be imported"),
        ("no_such_module:TRAINER", "cannot be imported"),
        ("somebody_else:", ""),
    ],
)
def test_what_is_no_trainer_is_refused(third_party, name, reason):
    with pytest.raises(InputError, match=f"^--trainer {name}: .*{reason}"):
        find_trainer(name)


def test_a_finding_needs_no_framework_for_others(installed):
    """A trainer of another framework does not keep one from being found."""
    pytest.importorskip("torch", reason="not run: torch is not installed")
    installed(jax=None, flax=None, tensorflow=None, keras=None)
    assert find_trainer("pytorch").name == "pytorch"


def refusing(**refuses):
    return SharedTrainer("some", "somebody_else:Backend", refuses=refuses)


def test_a_trainer_refuses_what_it_cannot_honour():
    trainer = refusing(bf16="--bf16: needs a newer processor.")
    with pytest.raises(InputError, match=r"^--bf16: needs a newer processor\.$"):
        trainer.run(TrainingSpec(bf16=True))
    with pytest.raises(InputError, match="There is nothing to do"):
        trainer.run(TrainingSpec(bf16=False))


@pytest.mark.parametrize(
    ("name", "what_to_do"),
    [
        ("accelerate", "start the script by xla_spawn.py"),
        ("flax", "JAX takes the TPUs that it sees by itself; leave it out"),
        ("pytorch", "start the script by xla_spawn.py"),
    ],
)
def test_who_takes_no_tpu_by_its_name_says_what_to_do(name, what_to_do):
    (found,) = (entry for entry in registry.listed() if entry.name == name)
    if not found.runs_here:
        pytest.skip(f"not run: {found.reason}")
    with pytest.raises(InputError, match=rf"^--tpu: .*{what_to_do}\.$"):
        find_trainer(name).run(TrainingSpec(do_train=True, tpu="t"))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"use_cpu": True}, "--tpu t and --use_cpu exclude each other: leave one out."),
        ({"fp16": True}, "--fp16: a TPU computes in bfloat16; give --bf16 with --tpu."),
    ],
)
def test_what_no_tpu_does_is_refused_after_what_the_trainer_refuses(flags, sentence):
    spec = TrainingSpec(do_train=True, dataset_name="no/such", tpu="t", **flags)
    for refuses, said in (({}, sentence), (UNTOLD, UNTOLD["tpu"])):
        with pytest.raises(InputError) as refused:
            SharedTrainer("some", "no_such_module:Backend", refuses=refuses).run(spec)
        assert str(refused.value) == said


def test_a_tpu_is_reached_before_rows_are_fetched(third_party):
    class Unreachable(SomeBackend):
        @classmethod
        def reach(cls, spec):
            raise InputError(f"--tpu {spec.tpu}: no TPU answers.")

    third_party.Unreachable = Unreachable
    trainer = SharedTrainer("some", "somebody_else:Unreachable", refuses={})
    with pytest.raises(InputError, match=r"^--tpu t: no TPU answers\.$"):
        trainer.run(TrainingSpec(do_train=True, dataset_name="no/such", tpu="t"))


def test_a_trainer_that_does_not_say_refuses_nothing(third_party):
    assert refusals_of(find_trainer("somebody_else:TRAINER")) == {}
    assert refusals_of(find_trainer("somebody_else:Backend")) == UNTOLD


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"do_train": True}, "--do_train: give --train_file or --dataset_name."),
        (
            {"do_eval": True, "validation_file": "no.csv"},
            "--validation_file no.csv: no such file.",
        ),
        (
            {"do_predict": True, "test_file": "rows.txt"},
            "--test_file rows.txt: give a .csv, .json or .jsonl file",
        ),
    ],
)
def test_missing_files_are_refused_before_a_framework_is_imported(flags, sentence):
    trainer = SharedTrainer("some", "no_such_module:Backend")
    with pytest.raises(InputError) as refused:
        trainer.run(TrainingSpec(**flags))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "id,long,short\n1,One two.,One.\n"),
        ("rows.jsonl", '{"id": 1, "long": "One two.", "short": "One."}\n'),
    ],
)
def test_missing_columns_are_refused_before_a_framework_is_imported(
    tmp_path, name, text
):
    (tmp_path / name).write_text(text)
    spec = TrainingSpec(
        do_train=True, train_file=str(tmp_path / name), text_column="dialogue"
    )
    with pytest.raises(InputError) as refused:
        SharedTrainer("some", "no_such_module:Backend").run(spec)
    assert str(refused.value).startswith("--text_column dialogue: no such column in")
    assert str(refused.value).endswith("it has: id, long, short.")


def test_files_that_no_action_reads_may_be_missing():
    spec = TrainingSpec(do_eval=True, train_file="no.csv", validation_file=__file__)
    with pytest.raises(InputError, match="--validation_file"):
        refusing().run(spec)


def test_a_backend_that_does_not_say_it_shards_refuses_to(third_party):
    trainer = find_trainer("somebody_else:Backend")
    with pytest.raises(InputError, match=r"^--fsdp: this trainer keeps a whole model"):
        trainer.run(TrainingSpec(do_train=True, fsdp="full_shard"))
