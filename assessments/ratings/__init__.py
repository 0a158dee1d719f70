"""What it means: claims, verdicts, and assessments with their results."""
