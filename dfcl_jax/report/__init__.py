"""Reports: tables and figures, pure functions of what a study came to."""
