"""The learning-rate sweep: a short trial training that shows at which rates a model learns.

``sweep`` trains with a rising rate and takes everything back, ``curve`` reads rates off what it saw, and ``drawing``
shows it. It knows nothing of files; ``dltrain lr-find`` and the callback ``lr_sweep`` do.
"""

from __future__ import annotations

from dltrain.lr_sweep.curve import RULES, Curve, Suggestion, suggest
from dltrain.lr_sweep.sweep import SweepSettings, note, rates, refusal, sweep

__all__ = ["RULES", "Curve", "Suggestion", "SweepSettings", "note", "rates", "refusal", "suggest", "sweep"]
