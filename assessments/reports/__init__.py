"""How it is told: one document value, drawn as PDF and JSON."""
