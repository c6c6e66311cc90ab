"""The guide's commands are shown as they are run: the pages and the file agree."""

import textwrap
from pathlib import Path

import pytest

from fixtures.guide import COMMANDS, TWO_CPUS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/guia.md"])
@pytest.mark.parametrize("id", COMMANDS)
def test_a_page_shows_the_command_that_is_run(page, id):
    shown = textwrap.indent(COMMANDS[id].command, "    ")
    assert shown in (ROOT / page).read_text(encoding="utf-8")


def test_no_page_shows_another_command():
    """What looks like one of a script is one of the file."""
    known = {line for each in COMMANDS.values() for line in each.command.splitlines()}
    for page in ("docs/guide.md", "docs/guia.md"):
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
            if line.startswith(("    python $S", "    accelerate launch", "    torch")):
                assert line.strip() in known, f"{page}: {line}"


def test_launching_shows_the_config_that_is_run():
    shown = textwrap.indent(TWO_CPUS.read_text(encoding="utf-8"), "    ")
    assert shown in (ROOT / "docs/launching.md").read_text(encoding="utf-8")
