"""Trainers of others, as their users would plug them in; known limits beside each."""
