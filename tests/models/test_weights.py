"""The files of a model's weights: which are read, and what in them is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fixtures.models import tiny_bart, tiny_t5
from reference_trainers.errors import InputError
from reference_trainers.models.source import load_model
from reference_trainers.models.t5 import t5_weights
from reference_trainers.spec import TrainingSpec

Load = Callable[[Path], Any]


def with_numpy(folder: Path) -> Any:
    """As the Flax and the TensorFlow trainer do."""
    source = load_model(TrainingSpec(model_name_or_path=str(folder)))
    return t5_weights(source.config, source.weights())


def with_torch(folder: Path) -> Any:
    pytest.importorskip("torch", reason="not run: PyTorch is not installed")
    from reference_trainers.pytorch.load import load_model as torch_model

    spec = TrainingSpec(model_name_or_path=str(folder), max_source_length=64)
    return torch_model(spec, load_model(spec)).state_dict()


BOTH = pytest.mark.parametrize("load", [with_numpy, with_torch])


def add(folder: Path, *names: str) -> Path:
    """Adds a weight of each name: the embedding again where it is one of those."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name in names:
        tied = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        extra = weights["shared.weight"].copy() if tied else np.zeros(3, np.float32)
        weights[name] = extra
    save_file(weights, file, metadata={"format": "pt"})
    return folder


@BOTH
def test_a_weight_too_many_is_refused_by_name(load: Load, tmp_path: Path) -> None:
    name = "encoder.block.0.extra.weight"
    with pytest.raises(InputError, match=f"{name}: config.json describes a model with"):
        load(add(tiny_t5(tmp_path), name))


@BOTH
def test_a_layer_that_the_config_does_not_count_is_refused(
    load: Load, tmp_path: Path
) -> None:
    folder = tiny_t5(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_layers": 1}))
    with pytest.raises(InputError, match=r"encoder.block.1.layer.0.\S+: config.json"):
        load(folder)


@BOTH
def test_copies_and_what_old_models_carry_are_taken(load: Load, tmp_path: Path) -> None:
    """Each is in published T5 models; transformers leaves the last one out, too."""
    old = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    folder = add(tiny_t5(tmp_path), *copies, "lm_head.weight", old)
    assert old not in load(folder)


def test_what_an_architecture_leaves_out_is_taken(tmp_path: Path) -> None:
    with_torch(add(tiny_bart(tmp_path / "old"), "model.encoder.version"))
    name = "classification_head.dense.weight"
    with pytest.raises(InputError, match=f"{name}: config.json describes"):
        with_torch(add(tiny_bart(tmp_path / "other"), name))


def with_index(folder: Path, index: Any) -> Path:
    """A model of one shard, and an index of it that is given."""
    tiny_t5(folder)
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


def index_of(file: Any) -> dict[str, Any]:
    return {"metadata": {}, "weight_map": {"shared.weight": file}}


@BOTH
def test_shards_are_read(load: Load, tmp_path: Path) -> None:
    assert load(with_index(tmp_path, index_of("shard.safetensors")))


@BOTH
@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "not JSON: "),
        ("[]", "not an index of weights: it has no weight_map."),
        ({"metadata": {}}, "not an index of weights: it has no weight_map."),
        ({"weight_map": {}}, "not an index of weights: it has no metadata."),
        (index_of(3), "shared.weight is said to be in 3, which is no file's name."),
        (index_of("../outside.safetensors"), "names ../outside.safetensors, which lie"),
        (index_of("/outside.safetensors"), "names /outside.safetensors, which lies o"),
        (index_of("absent.safetensors"), "names absent.safetensors, which is not in "),
        (index_of("shard.bin"), "names shard.bin, which is not a .safetensors file."),
    ],
)
def test_an_index_that_cannot_be_followed_is_refused(
    load: Load, tmp_path: Path, index: Any, said: str
) -> None:
    folder = with_index(tmp_path / "model", index)
    (folder / "shard.bin").touch()
    (tmp_path / "outside.safetensors").hardlink_to(folder / "shard.safetensors")
    with pytest.raises(InputError) as refused:
        load(folder)
    file = folder / "model.safetensors.index.json"
    assert str(refused.value).startswith(f"{file}: {said}")


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("relative_attention_num_buckets", -7, 4),
        ("relative_attention_num_buckets", 3, 4),
        ("relative_attention_max_distance", 0, 17),
        ("d_ff", 0, 1),
        ("num_heads", -1, 1),
        ("num_layers", 0, 1),
    ],
)
def test_a_new_model_of_no_size_is_refused(
    name: str, value: int, least: int, tmp_path: Path
) -> None:
    """Before a weight is drawn; a model of files has sizes of its own to keep to."""
    folder = tiny_t5(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: value}))
    spec = TrainingSpec(
        model_type="t5", config_name=str(folder), tokenizer_name=str(folder)
    )
    said = f"{name} is {value}: give a whole number from {least} on"
    with pytest.raises(InputError, match=said):
        load_model(spec).weights()
