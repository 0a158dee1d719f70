"""The application: who is assessed, what was seen, what it means, and how it is told."""
