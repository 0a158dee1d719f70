"""REST: the result of an organisation over HTTP, for programs."""
