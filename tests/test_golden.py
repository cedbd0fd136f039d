"""A golden curve: ten losses of a small pre-training, so that a change of what training computes is seen.

Weights, order and draws are seeded. Another processor changes the last bits only; 1e-3 is far above them and
far below what a change of a loss, a schedule or a draw does. Where a change is meant, write the new curve.
"""

from dataclasses import replace

import pytest
from distributed_jobs import CONFIG, feed, pretrain

from blip.schedules import Schedule
from blip.train import train

SCHEDULE = Schedule(steps=10, peak=1e-3, warmup=2, alpha_ramp=5)
# ITC, ITM and LM of each step; dropout drawn in sequence, as one process does by default, and by sample.
GOLDEN = {
    False: [
        (7.94765, 0.64308, 4.51059),
        (5.74791, 0.61226, 4.66048),
        (3.65279, 0.67789, 4.38056),
        (3.05054, 0.64785, 4.30819),
        (3.05819, 0.72704, 4.43017),
        (3.39133, 0.70915, 4.30177),
        (2.91044, 0.66037, 4.21295),
        (3.21571, 0.63839, 4.13927),
        (3.73422, 0.69108, 4.24695),
        (3.82358, 0.69409, 4.21141),
    ],
    True: [
        (7.96478, 0.68323, 4.58689),
        (6.21868, 0.69094, 4.65641),
        (3.40015, 0.65108, 4.39380),
        (2.93836, 0.65634, 4.31043),
        (2.97169, 0.64447, 4.45940),
        (3.08257, 0.70284, 4.27295),
        (3.28986, 0.55063, 4.26690),
        (3.23261, 0.65675, 4.16049),
        (3.30567, 0.66296, 4.26062),
        (3.86428, 0.65289, 4.22851),
    ],
}


@pytest.mark.parametrize("keyed", GOLDEN)
def test_ten_losses_are_the_golden_ones(keyed):
    rows = train(pretrain(), feed(), replace(CONFIG, schedule=SCHEDULE, keyed_dropout=keyed))
    found = [row[name] for row in rows for name in ("itc", "itm", "lm")]
    assert found == pytest.approx([loss for row in GOLDEN[keyed] for loss in row], abs=1e-3)
