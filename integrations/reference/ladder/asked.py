"""What the model asks for: its texts, which are all that the pipeline knows of the product."""

from maturity.schema import load_model
from maturity.structure import Check, Model, Practice

__all__ = ["Check", "Model", "Practice", "load_model"]
