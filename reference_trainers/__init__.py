"""Reference trainers: one spec, any framework, the same run."""
