"""The local Hub, through the real clients, each in a process that knows its address."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fixtures.hub import CNN_DAILYMAIL, T5_SMALL, Hub, seed
from tests.life.runs import Life


def python(hub: Hub, home: Path, code: str, token: str | None = None) -> str:
    """What a program says on stdout."""
    environment = {"PATH": "/usr/bin:/bin", **hub.environment(home, token)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


CLIENT = """
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download
hub = HfApi()
Path("made/inner").mkdir(parents=True)
Path("made/README.md").write_text("---\\nlicense: mit\\n---\\nhello")
Path("made/model.safetensors").write_bytes(bytes(5_000))
Path("made/inner/rows.json").write_text("[]")
name = hub.create_repo("mine", private=True).repo_id
for _ in range(2):
    hub.upload_folder(repo_id=name, folder_path="made")
got = Path(snapshot_download(name))
for path in Path("made").rglob("*.*"):
    assert (got / path.relative_to("made")).read_bytes() == path.read_bytes(), path
print(name, [c.title for c in hub.list_repo_commits(name)], hub.whoami()["name"])
print(sorted(entry.path for entry in hub.list_repo_tree(name)))
hub.delete_file("inner/rows.json", repo_id=name)
print(hub.list_repo_files(name))
"""


def test_its_own_client_uploads_lists_and_downloads(hub: Hub, tmp_path: Path) -> None:
    code = f"import os; os.chdir({str(tmp_path)!r}){CLIENT}"
    said = python(hub, tmp_path / "home", code, "hf_writes").splitlines()
    upload = "Upload folder using huggingface_hub"
    assert said == [
        f"user/mine ['{upload}', 'initial commit'] user",
        "['.gitattributes', 'README.md', 'inner', 'model.safetensors']",
        "['.gitattributes', 'README.md', 'model.safetensors']",
    ]


def test_the_guides_model_and_dataset_are_there(hub: Hub, tmp_path: Path) -> None:
    seed(hub.store)
    code = f"""
from datasets import load_dataset
from transformers import AutoConfig, AutoTokenizer
data = load_dataset({CNN_DAILYMAIL!r}, "3.0.0")
print({{name: split.num_rows for name, split in data.items()}})
print(data["train"].column_names)
config = AutoConfig.from_pretrained({T5_SMALL!r})
print(config.model_type, len(AutoTokenizer.from_pretrained({T5_SMALL!r})) > 100)
"""
    assert python(hub, tmp_path / "home", code).splitlines() == [
        "{'train': 100, 'validation': 50, 'test': 100}",
        "['article', 'highlights', 'id']",
        "t5 True",
    ]


@pytest.mark.skipif(not find_spec("torch"), reason="not run: torch is not installed")
def test_what_a_run_pushes_opens_by_its_name(
    life: Life, hub: Hub, tmp_path: Path
) -> None:
    life.run(push_to_hub=True)
    code = f"""
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
model = AutoModelForSeq2SeqLM.from_pretrained("user/output")
written = load_file({str(life.folder / "model.safetensors")!r})
state = model.state_dict()
print(all(state[name].equal(value) for name, value in written.items()))
tokenizer = AutoTokenizer.from_pretrained("user/output")
tokens = model.generate(**tokenizer("a paper on words", return_tensors="pt"))
print(len(tokenizer.batch_decode(tokens, skip_special_tokens=True)))
"""
    assert python(hub, tmp_path / "home", code).split() == ["True", "1"]


UNREADABLE = {
    "--model_name_or_path user/none": "neither a folder nor a model of the Hub, or a",
    "--model_name_or_path other/private": "neither a folder nor a model of the Hub, or",
    "--model_name_or_path other/gated": "access to it is restricted. Ask for it",
    f"--model_name_or_path {T5_SMALL}": "has no --model_revision v9.",
    "--dataset_name user/none": "cannot be loaded: Dataset 'user/none' doesn't exist",
    "--text_column words": "no such column in cnn_dailymail; it has: article, ",
}
"""What a flag is refused with."""
MORE = {
    f"--model_name_or_path {T5_SMALL}": "--model_revision v9",
    "--dataset_name user/none": f"--model_name_or_path {T5_SMALL}",
    "--text_column words": f"--model_name_or_path {T5_SMALL}",
}
"""What else is given."""


def test_what_cannot_be_read_is_told_in_one_sentence(hub: Hub, tmp_path: Path) -> None:
    seed(hub.store)
    for name, rights in (("private", {"private": True}), ("gated", {"gated": True})):
        made = hub.store.create("models", f"other/{name}", **rights)
        made.commit("Upload", {"config.json": b"{}"})
    standard = f"--do_eval --token hf_writes --output_dir {tmp_path / 'out'}"
    data = "--dataset_name cnn_dailymail --dataset_config 3.0.0"
    commands = [
        f"{standard} {'' if '--dataset' in flag else data} {MORE.get(flag, '')} {flag}"
        for flag in UNREADABLE
    ]
    code = f"""
import contextlib, io, json
from fixtures.numpy_backend import TRAINER
from reference_trainers import cli
for command in {commands!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert cli.main(TRAINER, command.split()) == 2
    print(json.dumps(said.getvalue()))
"""
    said = [json.loads(line) for line in python(hub, tmp_path, code).splitlines()]
    for (flag, sentence), line in zip(UNREADABLE.items(), said, strict=True):
        assert line.startswith(f"{flag}: {sentence}"), line
        assert line.count("\n") == 1, line
