"""What a framework says while it is imported is kept off stderr, unless it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from reference_trainers.errors import InputError
from reference_trainers.registry import SharedTrainer, find_trainer
from reference_trainers.report.stderr import import_noise_kept_off_stderr

NOISE = "oneDNN custom operations are on\n"
MODULES = {
    "speaks": "class Backend:\n    load = None\n",
    "fails": "raise ImportError('libcudart.so: not found')\n",
    "aborts": "os.abort()\n",
}


@pytest.fixture
def framework(tmp_path, monkeypatch):
    """The name of a module that writes to fd 2, as C++ does, and then..."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(kind: str) -> str:
        text = f"import os\nos.write(2, {NOISE.encode()!r})\n{MODULES[kind]}"
        (tmp_path / f"framework_that_{kind}.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"framework_that_{kind}", raising=False)
        return f"framework_that_{kind}:Backend"

    return make


def test_noise_is_kept_off(framework, capfd):
    backend = SharedTrainer("some", framework("speaks")).backend_class()
    assert backend.__name__ == "Backend"
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_a_real_error_is_shown_with_what_was_said(framework, capfd):
    name = framework("fails")
    with pytest.raises(ImportError, match="libcudart"):
        SharedTrainer("some", name).backend_class()
    assert capfd.readouterr().err == NOISE
    with pytest.raises(
        InputError, match=r"cannot be imported: libcudart.so: not found"
    ):
        find_trainer(name)


def test_python_messages_are_not_lost_after_it(capsys):
    with import_noise_kept_off_stderr():
        pass
    print("said", file=sys.stderr)
    assert capsys.readouterr().err == "said\n"


def child(code: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import os, sys\n"
        "from reference_trainers.report.stderr import import_noise_kept_off_stderr\n"
        f"{code}\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_crash_says_where_it_was():
    ended = child(
        "with import_noise_kept_off_stderr():\n    os.write(2, b'no')\n    os.abort()"
    )
    assert ended.returncode < 0
    assert "Fatal Python error: Aborted" in ended.stderr


def test_a_closed_stderr_stays_closed():
    ended = child(
        "os.close(2)\nwith import_noise_kept_off_stderr():\n    pass\n"
        "try:\n    os.fstat(2)\nexcept OSError:\n    print('closed')"
    )
    assert (ended.returncode, ended.stdout) == (0, "closed\n")


def test_threads_leave_stderr_as_it_was(capfd):
    def import_something():
        for _ in range(50):
            with import_noise_kept_off_stderr():
                os.write(2, b"noise\n")

    threads = [threading.Thread(target=import_something) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
