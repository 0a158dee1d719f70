"""telling: a scorecard and its gaps in plain lines of text, in English or Chinese, for terminals and pages.

Takes values of the engine; gives sentences. Decides nothing.
"""

from __future__ import annotations
