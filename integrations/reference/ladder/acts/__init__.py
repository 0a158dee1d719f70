"""The acts: one module a capability, each doing what its practices ask and leaving the traces of it."""
