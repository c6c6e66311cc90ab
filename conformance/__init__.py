"""Whether trainers mean the same thing by the same spec, on any hardware."""
