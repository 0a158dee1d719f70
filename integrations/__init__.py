"""Where facts come from: connectors, and the bundled reference pipeline."""
