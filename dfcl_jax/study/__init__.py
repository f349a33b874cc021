"""Studies (in work)."""
