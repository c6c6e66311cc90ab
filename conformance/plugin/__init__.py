"""How the suite plugs into pytest: trainers, states, limits, the record, shares."""
