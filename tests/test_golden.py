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
        (7.94765, 0.79933, 4.54809),
        (5.74791, 0.62877, 4.72962),
        (3.65249, 0.66820, 4.38807),
        (3.04901, 0.66373, 4.33519),
        (3.05737, 0.64940, 4.44630),
        (3.39087, 0.66954, 4.26154),
        (2.91208, 0.64864, 4.21485),
        (3.21931, 0.67117, 4.19562),
        (3.73612, 0.64311, 4.25008),
        (3.82532, 0.69075, 4.19744),
    ],
    True: [
        (7.96478, 0.72457, 4.55503),
        (6.21869, 0.72191, 4.69617),
        (3.40030, 0.61416, 4.37785),
        (2.93847, 0.66259, 4.33658),
        (2.97177, 0.69089, 4.45035),
        (3.08237, 0.73538, 4.33281),
        (3.28885, 0.66179, 4.27239),
        (3.23562, 0.64944, 4.15705),
        (3.30673, 0.64962, 4.24989),
        (3.86518, 0.66023, 4.25390),
    ],
}


@pytest.mark.parametrize("keyed", GOLDEN)
def test_ten_losses_are_the_golden_ones(keyed):
    rows = train(pretrain(), feed(), replace(CONFIG, schedule=SCHEDULE, keyed_dropout=keyed))
    found = [row[name] for row in rows for name in ("itc", "itm", "lm")]
    assert found == pytest.approx([loss for row in GOLDEN[keyed] for loss in row], abs=1e-3)
