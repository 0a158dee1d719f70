"""Who: organisations, their projects and their members."""
