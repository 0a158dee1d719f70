"""The cases: one module per family; importing this package registers them all."""

from integrations.reference.cases import digits

__all__ = ["digits"]
