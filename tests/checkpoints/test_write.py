"""A checkpoint is whole or an error that names the damage; a full disk costs none."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fixtures.checkpoints import (
    IDENTITY,
    SHAPES,
    TRAINER_STATE,
    content_of,
    equal,
    state_of,
    write_model_files,
    write_step,
)
from reference_trainers.checkpoints.manifest import CheckpointError, verify_checkpoint
from reference_trainers.checkpoints.read import (
    read_checkpoint,
    read_published,
    require_shapes,
)
from reference_trainers.checkpoints.resume import require_same_run
from reference_trainers.checkpoints.write import CheckpointWriteFailed, write_checkpoint
from reference_trainers.errors import InputError
from reference_trainers.protocols import State
from reference_trainers.recipe.loss_scale import LossScale

# Writing and reading


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("moments", [True, False])
def test_what_is_read_is_what_was_written_bit_for_bit(
    tmp_path: Path, dtype: str, moments: bool
) -> None:
    folder = tmp_path / "checkpoint-10"
    state = state_of(1, dtype, moments)
    scale = LossScale(65536.0, good_steps=3) if moments else None
    state = replace(state, loss_scale=scale)
    write_checkpoint(folder, state, TRAINER_STATE, IDENTITY, write_model_files)

    found, trainer_state, manifest = read_checkpoint(folder)

    assert equal(found, state)
    assert trainer_state == TRAINER_STATE
    assert manifest.identity == IDENTITY
    assert (manifest.step, manifest.updates) == (10, state.updates)
    assert found.loss_scale == manifest.loss_scale == scale
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_a_transposed_view_is_stored_as_what_it_shows(tmp_path: Path) -> None:
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    folder = tmp_path / "checkpoint-1"
    write_checkpoint(folder, State({"w": view}), {}, IDENTITY, write_model_files)
    assert np.array_equal(read_checkpoint(folder)[0].parameters["w"], view)


def test_a_diverged_run_can_be_written_too(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    write_checkpoint(
        folder, state_of(), {"loss": float("nan")}, IDENTITY, write_model_files
    )
    assert np.isnan(read_checkpoint(folder)[1]["loss"])


def test_the_same_state_gives_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    state = state_of()
    turned = State(
        dict(reversed(dict(state.parameters).items())),
        dict(reversed(dict(state.exp_avg).items())),
        dict(reversed(dict(state.exp_avg_sq).items())),
        state.updates,
    )
    folders = [tmp_path / side / "checkpoint-10" for side in ("left", "right")]
    write_checkpoint(folders[0], state, TRAINER_STATE, IDENTITY, write_model_files)
    turned_identity = dict(reversed(IDENTITY.items()))
    turned_state = dict(reversed(TRAINER_STATE.items()))
    write_checkpoint(
        folders[1], turned, turned_state, turned_identity, write_model_files
    )
    assert content_of(folders[0]) == content_of(folders[1])
    assert len(content_of(folders[0])) == 6


def test_every_file_has_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    modes = {path.stat().st_mode for path in write_step(tmp_path, 1).iterdir()}
    assert len(modes) == 1


def test_writing_a_step_again_replaces_it(tmp_path: Path) -> None:
    write_step(tmp_path, 10, seed=1)
    folder = write_step(tmp_path, 10, seed=2)
    assert equal(read_checkpoint(folder)[0], state_of(2))
    assert list(tmp_path.iterdir()) == [folder]


def test_transformers_opens_a_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from safetensors.numpy import load_file

    from fixtures.models import tiny_t5

    model = tiny_t5(tmp_path / "model")
    weights = load_file(model / "model.safetensors")

    def copy_model_files(folder: Path) -> None:
        shutil.copytree(
            model,
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("*.safetensors"),
        )

    folder = tmp_path / "checkpoint-3"
    write_checkpoint(
        folder, State(weights, weights, weights), {}, IDENTITY, copy_model_files
    )

    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(folder)
    for name, value in opened.state_dict().items():
        stored = weights.get(name, weights["shared.weight"])
        assert np.array_equal(value.numpy(), stored)


# Damage

FILES = (
    "config.json",
    "manifest.json",
    "model.safetensors",
    "optimizer.safetensors",
    "tokenizer.json",
    "trainer_state.json",
)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_step(tmp_path, 10)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"checkpoint-10: .*{name}"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    file = write_step(tmp_path, 10) / name
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(CheckpointError, match=rf"checkpoint-10: {name} is damaged"):
        read_checkpoint(file.parent)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    file = write_step(tmp_path, 10) / name
    whole = file.read_bytes()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        file.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=rf"checkpoint-10: {name} is "):
            verify_checkpoint(file.parent)


def test_folders_that_are_no_checkpoint_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "file").write_text("")
    for name, what in [
        ("absent", "no such folder"),
        ("file", "is a file, not a folder"),
        ("empty", "the folder is empty"),
        ("foreign", "has no manifest.json, so it is no checkpoint of these trainers"),
    ]:
        with pytest.raises(CheckpointError, match=f"{name}: {what}"):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 1}', '{"version": 1,'])
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, content: str) -> None:
    folder = write_step(tmp_path, 10)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json is"):
        verify_checkpoint(folder)


def test_a_manifest_of_another_version_is_named(tmp_path: Path) -> None:
    manifest = write_step(tmp_path, 10) / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "version": 3}))
    with pytest.raises(CheckpointError, match="of version 3, but only 2 can be read"):
        verify_checkpoint(manifest.parent)


def test_a_published_model_that_is_damaged_is_named_by_its_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=f"^--output_dir {tmp_path}: model.safetensor"):
        read_published(tmp_path)


def test_updates_are_not_negative(tmp_path: Path) -> None:
    folder = write_step(tmp_path, 8)
    file = folder / "manifest.json"
    manifest = replace(verify_checkpoint(folder).manifest, updates=-1)
    file.write_text(manifest.as_json(), encoding="utf-8")
    with pytest.raises(CheckpointError, match="counts -1 updates"):
        verify_checkpoint(folder)


def test_a_checkpoint_under_a_wrong_step_is_refused(tmp_path: Path) -> None:
    renamed = write_step(tmp_path, 10).rename(tmp_path / "checkpoint-20")
    with pytest.raises(CheckpointError, match="checkpoint-20: holds step 10"):
        verify_checkpoint(renamed)
    assert verify_checkpoint(renamed.rename(tmp_path / "backup")).step == 10


class Bomb:
    """What pickle would run on loading."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_planted_pickle_is_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "exploded"
    folder = write_step(tmp_path, 10)
    for name in ("optimizer.pt", "training_args.bin", "rng_state.pth"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    assert equal(read_checkpoint(folder)[0], state_of())
    bomb = folder / "model.safetensors"
    bomb.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CheckpointError):
        read_checkpoint(folder)
    assert not mark.exists()
    pickle.loads(bomb.read_bytes())  # it was live
    assert mark.exists()


# Fitting


def written(tmp_path: Path, state: State, step: int = 1) -> Path:
    folder = tmp_path / f"checkpoint-{step}"
    write_checkpoint(folder, state, TRAINER_STATE, IDENTITY, write_model_files)
    return folder


def test_a_checkpoint_of_another_model_is_refused_by_parameter(tmp_path: Path) -> None:
    folder = written(tmp_path, state_of())
    require_shapes(folder, SHAPES)
    require_shapes(written(tmp_path, state_of(moments=False), 2), SHAPES)
    for wanted, sentence in [
        (SHAPES | {"b.bias": (5,)}, r"b\.bias is \(3,\) there and \(5,\) in this"),
        (SHAPES | {"c": (1,)}, r"c is absent there and \(1,\) in this model"),
        ({"b.bias": (3,), "scale": ()}, r"a\.weight is \(4, 3\) there and absent in"),
    ]:
        with pytest.raises(InputError, match=sentence):
            require_shapes(folder, wanted)


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    whole = state_of()
    partial = State(whole.parameters, whole.exp_avg, {"scale": np.zeros(())})
    with pytest.raises(InputError, match=r"exp_avg_sq\.a\.weight is absent there"):
        require_shapes(written(tmp_path, partial), SHAPES)


def test_a_changed_identity_names_each_field_with_both_values() -> None:
    saved = {**IDENTITY, "betas": [0.9, 0.999]}
    require_same_run(saved, {**IDENTITY, "betas": (0.9, 0.999)})
    now = {"seed": 43, "model": {"d_model": 64, "layers": 2}, "betas": [0.9, 0.999]}
    with pytest.raises(InputError) as caught:
        require_same_run(saved, now)
    assert (
        "global_batch was 8 and is absent; model.d_model was 32 and is 64; "
        "seed was 42 and is 43." in str(caught.value)
    )
    assert "layers" not in str(caught.value)


# Full disks


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk_as_rust_says_it(_: Path) -> None:
    raise Exception("No space left on device (os error 28)")  # tokenizers does


def test_a_full_disk_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = write_step(tmp_path, 10, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        for step in (10, 20):
            with pytest.raises(CheckpointWriteFailed, match=r"No space left on device"):
                write_step(tmp_path, step, seed=2)
    assert list(tmp_path.iterdir()) == [older]
    assert equal(read_checkpoint(older)[0], state_of(1))


@pytest.mark.parametrize("fails", [full_disk, full_disk_as_rust_says_it])
def test_a_full_disk_under_the_tokenizer_is_a_failed_write(
    tmp_path: Path, fails: Callable[[Path], None]
) -> None:
    with pytest.raises(CheckpointWriteFailed, match="No space left on device"):
        write_checkpoint(tmp_path / "checkpoint-1", state_of(), {}, IDENTITY, fails)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    older = write_step(tmp_path, 10)
    large = State({"w": np.zeros(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(CheckpointWriteFailed, match="checkpoint-20 could not be"):
            write_checkpoint(
                tmp_path / "checkpoint-20", large, {}, IDENTITY, write_model_files
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [older]


def test_a_fault_of_the_caller_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def faulty(_: Path) -> None:
        raise TypeError("no tokenizer")

    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "checkpoint-1", state_of(), {}, IDENTITY, faulty)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_rename_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_step(tmp_path, 10, seed=1)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".writing-" in self.name:
            full_disk()
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(CheckpointWriteFailed):
            write_step(tmp_path, 10, seed=2)
    assert equal(read_checkpoint(folder)[0], state_of(1))
    assert list(tmp_path.iterdir()) == [folder]
