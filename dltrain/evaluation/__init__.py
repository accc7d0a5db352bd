"""What is to be known of a trained model on a split: figures and how sure they are, classes, calibration, residuals,
and simple guesses beside it.

``gathering`` keeps what is needed of one pass; everything else computes on its arrays.
"""

from dltrain.evaluation.evaluating import of

__all__ = ["of"]
