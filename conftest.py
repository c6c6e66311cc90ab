"""Plugs the conformance suite into pytest, for `conformance` and `tests` alike."""

pytest_plugins = (
    "conformance.plugin.trainers",
    "conformance.plugin.record",
    "conformance.plugin.share",
)
