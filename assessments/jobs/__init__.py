"""Long work: a job is a row with state and progress; a worker runs it, a page watches it."""
