"""What a run is told, and what it refuses."""
