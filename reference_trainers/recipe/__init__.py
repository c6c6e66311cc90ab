"""What a run is: pure functions and numbers; numpy alone."""
