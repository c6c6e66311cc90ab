"""Plugs trainers and profiles into pytest: `--trainer NAME --profile NAME --law ID`.

A trainer that cannot run here, a profile whose hardware is absent, and a law that names
no such profile are shown as not run, with the reason; they never pass.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import pytest

from conformance import workers
from conformance.catalogue import laws
from conformance.law import LAWS, Law, law_of
from conformance.laws import properties
from conformance.profiles import PROFILES, Profile
from conformance.runs import Inputs, MakeRuns, Runs, build_inputs
from conformance.subject import Subject
from reference_trainers import InputError, listed

RUNS = pytest.StashKey[dict[tuple[str, str], Runs]]()  # all laws share them


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--trainer",
        action="append",
        metavar="NAME",
        help="a registered trainer, or package.module:attribute of your own; "
        "may be given more than once; default: every registered one",
    )
    group.addoption(
        "--trainer-command",
        action="append",
        dest="trainer",
        type=lambda text: text if " " in text else f"{text} ",  # one word is no name
        metavar="COMMAND",
        help="the same as a command line: a spec file follows, or flags, and "
        "it leaves an output folder with its run_report.json",
    )
    group.addoption(
        "--profile",
        action="append",
        choices=sorted(PROFILES),
        help="hardware and precision; may be given more than once; default: of each "
        "law the first that it names, and those it is always tested on",
    )
    group.addoption(
        "--law",
        action="append",
        metavar="ID",
        help="only this law, such as resume.bit-exact; may be given more than once",
    )
    group.addoption(
        "--kills",
        type=int,
        default=1,
        help="how often a run is killed and resumed; default: 1",
    )
    group.addoption(
        "--run-timeout",
        type=float,
        default=workers.LIMIT,
        metavar="SECONDS",
        help="a run that takes longer is ended; default: %(default)s",
    )
    group.addoption(
        "--examples",
        type=int,
        default=properties.EXAMPLES,
        metavar="N",
        help="examples that a law for any input draws; default: %(default)s",
    )
    group.addoption(
        "--shuffle",
        type=int,
        metavar="SEED",
        help="trainers and profiles in random order, and the laws of each",
    )


def pytest_configure(config: pytest.Config) -> None:
    require_trainers(config.getoption("--trainer") or ())
    keep_programs(config)
    config.stash[RUNS] = {}
    workers.LIMIT = config.getoption("--run-timeout")
    properties.EXAMPLES = config.getoption("--examples")
    properties.SEEDED = config.getoption("--hypothesis-seed", None) is None


def pytest_unconfigure(config: pytest.Config) -> None:
    workers.close_all()


def require_trainers(asked: Sequence[str]) -> None:
    """Refuses what is no trainer at all: a test that runs nothing would pass.

    A registered one whose framework is not here is shown as not run.
    """
    for text in set(asked) - {found.name for found in listed()}:
        try:
            Subject.of(text)
        except InputError as error:
            raise pytest.UsageError(str(error)) from error


def require_laws(asked: Sequence[str]) -> None:
    known = {*laws(), *LAWS}
    for id in asked:
        if id not in known:
            close = ", ".join(get_close_matches(id, known)) or "none is like it"
            raise pytest.UsageError(
                f"--law {id}: no such law ({close}); `python -m conformance laws` "
                "lists them."
            )


def keep_programs(config: pytest.Config) -> None:
    """What JAX compiles is compiled once a session, by all of its processes together.

    It keeps programs on a disk anyway, but only those that took it a second.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # pytest-xdist's, or the user's own
        return
    folder = tempfile.TemporaryDirectory(prefix="conformance-programs-")
    config.add_cleanup(folder.cleanup)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv("JAX_COMPILATION_CACHE_DIR", folder.name)
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is tested, in the first lines of the output."""
    lines = []
    for found in listed():
        versions = ", ".join(f"{name} {v}" for name, v in found.versions.items())
        state = "tested" if found.runs_here else f"not run: {found.reason}"
        lines.append(f"trainer {found.name}: {state} ({versions or 'no versions'})")
    profiles = config.getoption("--profile") or ["those that each law names first"]
    return [*lines, f"profiles: {', '.join(profiles)}"]


# ---- which laws, on which profiles --------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    law = law_of(metafunc.function)
    asked = metafunc.config.getoption("--profile")
    texts = metafunc.config.getoption("--trainer") or [f.name for f in listed()]
    places = asked or (law.by_default if law else ["cpu"])
    values: list[Any] = []
    named = metafunc.config.getoption("--law") or ()
    if law and law.is_long and law.id not in named:
        skip = f"not run: takes long; run by --law {law.id}"
        places, values = [], [_left_out("", "long", skip)]
    for place in dict.fromkeys(places):
        if law is None or place in law.profiles:
            values += [pytest.param(t, place, id=f"{t}-{place}") for t in texts]
        else:
            values.append(_not_run(law, place))
    metafunc.parametrize(("subject", "profile"), values, indirect=True, scope="session")


def _not_run(law: Law, profile: str) -> Any:
    reason = f"not run: {law.id} is a law of {', '.join(law.profiles)}, not {profile}"
    return _left_out(profile, f"not-on-{profile}", reason)


def _left_out(profile: str, id: str, reason: str) -> Any:
    return pytest.param("", profile, id=id, marks=pytest.mark.skip(reason=reason))


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    asked, seed = config.getoption("--law"), config.getoption("--shuffle")
    if asked:
        require_laws(asked)
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            law = law_of(getattr(item, "function", None))
            (kept if law and law.id in asked else left).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    if seed is not None:
        shuffle(items, random.Random(seed))


def shuffle(items: list[pytest.Item], chance: random.Random) -> None:
    """Those of one trainer and profile stay together: they share a worker."""

    def place(item: pytest.Item) -> tuple[str, str]:
        called = getattr(item, "callspec", None)
        params = called.params if called else {}
        return params.get("subject", ""), params.get("profile", "")

    places = sorted(set(map(place, items)))
    chance.shuffle(places)
    chance.shuffle(items)
    items.sort(key=lambda item: places.index(place(item)))


# ---- fixtures -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject:
    """The trainer under test."""
    return _subject(request.param)


def _subject(text: str) -> Subject:
    try:
        return Subject.of(text)
    except InputError as error:
        pytest.skip(f"not run: {error}")


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest, subject: Subject) -> Profile:
    profile = PROFILES[request.param]
    reason = profile.absent(subject)
    if reason is not None:
        pytest.skip(f"not run: {reason}")
    return profile


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """A tiny T5 and ragged rows, built from a seed; a cache of their own."""
    top = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(top / "cache"))  # of the workers
        patch.setattr("datasets.config.HF_DATASETS_CACHE", top / "cache")
        yield build_inputs(top)


@pytest.fixture
def runs_of(
    profile: Profile,
    inputs: Inputs,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> MakeRuns:
    """Runs of any trainer, for laws between two: on the profile that is for others."""

    def make(text: str, on: str | None = None) -> Runs:
        place = on or profile.others or profile.name
        made = request.config.stash[RUNS]
        if (text, place) not in made:
            top = tmp_path_factory.mktemp("runs")
            made[text, place] = Runs(_subject(text), PROFILES[place], inputs, top)
        return made[text, place]

    return make


@pytest.fixture
def run(subject: Subject, profile: Profile, runs_of: MakeRuns) -> Runs:
    """Makes runs of the trainer under test: ``run(max_steps=3).losses``."""
    return runs_of(subject.text, profile.name)
