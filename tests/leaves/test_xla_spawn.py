"""xla_spawn.py starts a process for each core, and says what is missing for that."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from reference_trainers.errors import InputError
from reference_trainers.pytorch import xla_spawn

LAUNCHER = str(xla_spawn.__file__)
# Starts without asking for a TPU: what is told apart from how it is run
START = (
    "import sys; from reference_trainers.pytorch import xla_spawn; "
    "xla_spawn.GRACE = 0.5; "
    "raise SystemExit(xla_spawn.run([sys.executable, *sys.argv[1:]], 3))"
)
SHOWS = """
import os, sys
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCH_TPU_TOPOLOGY")
words = [*(os.environ[name] for name in names), *sys.argv[1:]]
os.write(1, (" ".join(words) + "\\n").encode())
"""
WAITS = """
import os, signal, sys, time
def stop(number, frame):
    os.write(1, f"told {number}\\n".encode())
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, stop)
os.write(1, b"ready\\n")
time.sleep(60)
"""
ENDS = "import os, sys, time; rank = int(os.environ['RANK']); "


@pytest.fixture
def written(tmp_path):
    def write(text):
        script = tmp_path / "script.py"
        script.write_text(text)
        return str(script)

    return write


@pytest.fixture
def installed(monkeypatch):
    """torch-tpu is, as far as the launcher can see."""
    monkeypatch.setattr(xla_spawn, "find_spec", lambda name: name)


@pytest.fixture
def torch_tpu(installed, monkeypatch):
    """A torch.tpu that answers as torch-tpu does, and what it was asked."""
    asked: list[dict[str, int]] = []

    def set_tpu_launch_env(**given):
        asked.append(given)
        os.environ["TORCH_TPU_TOPOLOGY"] = "1,2,1"

    tpu, distributed = types.ModuleType("torch.tpu"), types.SimpleNamespace()
    distributed.set_tpu_launch_env = set_tpu_launch_env
    tpu.__dict__["distributed"] = distributed
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "torch.tpu", tpu)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return asked


def devices(folder: Path, count: int) -> Path:
    """A /dev with so many TPU cores."""
    (folder / "vfio").mkdir()
    for number in range(count):
        (folder / f"vfio/{number}").touch()
    (folder / "vfio/vfio").touch()  # of the driver, and no device
    return folder


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--num_cores", "0", LAUNCHER], "--num_cores 0: give 1 or more."),
        (["--num_cores", "x", LAUNCHER], "--num_cores: invalid int value: 'x'. See -h"),
        (["--num_cores", "2", "no.py", "--do_train"], "no.py: no such script."),
        (["--num_cores", "2"], "required: script"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, capsys):
    assert xla_spawn.main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_without_torch_tpu_it_says_how_to_install_it(written):
    """Nothing of the script is run, and no framework imported."""
    if xla_spawn.find_spec("torch_tpu") is not None:
        pytest.skip("not run: torch-tpu is installed")
    command = [LAUNCHER, "--num_cores", "8", written("print('ran')"), "--do_train"]
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    *imports, said = ended.stderr.splitlines()
    assert re.fullmatch(r"xla_spawn\.py: .* pip install torch-tpu.*torchrun\.", said)
    assert all(line.startswith("import time:") for line in imports)
    assert not [line for line in imports if line.split()[-1] in ("torch", "numpy")]


def test_without_a_tpu_it_says_so(installed, tmp_path):
    with pytest.raises(InputError, match=r"^--num_cores 8: this machine has 0 TPU co"):
        xla_spawn.require_a_tpu(8, LAUNCHER, devices(tmp_path, 0))


def test_more_processes_than_cores_are_refused(installed, tmp_path):
    folder = devices(tmp_path, 4)
    xla_spawn.require_a_tpu(4, LAUNCHER, folder)
    with pytest.raises(InputError, match=r"^--num_cores 8: this machine has 4 TPU co"):
        xla_spawn.require_a_tpu(8, LAUNCHER, folder)


def test_torch_tpu_is_asked_for_its_variables(torch_tpu, monkeypatch):
    xla_spawn.set_variables(2)
    assert torch_tpu == [{"nnodes": 1, "nproc_per_node": 2}]
    assert os.environ["TORCH_TPU_TOPOLOGY"] == "1,2,1"
    assert os.environ["WORLD_SIZE"] == os.environ["LOCAL_WORLD_SIZE"] == "2"
    assert os.environ["MASTER_ADDR"] == "127.0.0.1"
    assert 0 < int(os.environ["MASTER_PORT"]) < 2**16


def test_what_torch_tpu_refuses_is_one_sentence(torch_tpu, monkeypatch, capsys):
    def refuses(**given):
        raise RuntimeError("No TPU topology found for count: 3")

    sys.modules["torch.tpu"].distributed.set_tpu_launch_env = refuses
    monkeypatch.setattr(xla_spawn, "require_a_tpu", lambda *given: None)
    assert xla_spawn.main(["--num_cores", "3", LAUNCHER]) == 2
    said = capsys.readouterr().err
    assert said == "--num_cores 3: No TPU topology found for count: 3.\n"


def started(*words, **given):
    command = [sys.executable, "-c", START, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **given)


def test_each_process_knows_its_place(written):
    own = {"WORLD_SIZE": "3", "MASTER_ADDR": "here", "TORCH_TPU_TOPOLOGY": "1,3,1"}
    process = started(written(SHOWS), "--num_beams", "4", env={**os.environ, **own})
    said, _ = process.communicate(timeout=60)
    expected = [f"{rank} {rank} 3 here 1,3,1 --num_beams 4" for rank in range(3)]
    assert sorted(said.splitlines()) == expected
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_reaches_every_process_once(written, name):
    number = getattr(signal, name)
    process = started(written(WAITS))
    assert [process.stdout.readline() for _ in range(3)] == ["ready\n"] * 3
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines() == [f"told {int(number)}"] * 3
    assert process.returncode == 128 + number


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("sys.exit(rank)", 1),
        ("sys.exit(2 if rank == 0 else 1)", 2),
        ("time.sleep(60 if rank else 0); sys.exit(3)", 3),
        ("rank == 1 and os.abort()", 128 + signal.SIGABRT),
    ],
)
def test_it_ends_as_the_first_that_failed(written, ends, status):
    """Those that wait for the lost one do not keep it."""
    process = started(written(ENDS + ends))
    process.communicate(timeout=30)
    assert process.returncode == status
