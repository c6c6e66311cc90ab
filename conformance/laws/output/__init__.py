"""What a run leaves behind and shares."""
