"""The life of a run: how it starts, leads or follows, and is stopped."""
