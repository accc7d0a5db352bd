"""The plots of a sweep's report show trials apart that are apart."""

from __future__ import annotations

import pytest

from dltrain.sweeps.report_plots import Scale


@pytest.mark.parametrize("higher_is_better", [False, True])
@pytest.mark.parametrize("losses", [[0.054, 0.141, 0.745, 1.122], [0.1, 0.2], [0.1], [0.5, 0.1, 0.3]])
def test_of_few_trials_all_are_drawn_where_they_are(losses, higher_is_better):
    sign = -1 if higher_is_better else 1
    scale = Scale.of([sign * loss for loss in losses], higher_is_better)
    assert scale is not None
    assert scale.beyond == 0 and scale.limit == sign * max(losses)


def test_trials_that_diverged_end_at_a_line():
    scale = Scale.of([0.1, 0.2, 0.3, 0.4, 0.5, 900.0], higher_is_better=False)
    assert scale is not None
    assert scale.beyond == 1 and scale.clipped(900.0) == 0.5
