"""A feed that is read ahead gives the same batches, stands where it was taken from, and hides no error."""

import threading

import pytest
import torch
from pretended_gpu import GPU, pretended_gpu

from blip.ahead import Ahead, read_ahead
from blip.tasks.batch import PairBatch
from blip.tokenizer import SpecialIds, Tokens

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, dec=4, enc=5)


class Counting:
    """Batches numbered from 0; the one numbered `broken` cannot be read."""

    def __init__(self, broken=-1):
        self.step, self.broken, self.readers = 0, broken, set()

    def __next__(self):
        self.readers.add(threading.current_thread())
        if self.step == self.broken:
            raise OSError("the disk is gone")
        self.step += 1
        ids = torch.full((2,), self.step - 1)
        tokens = Tokens(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), "CLS", SPECIAL)
        return PairBatch(torch.zeros(2, 3, 4, 4), tokens, ids, step=self.step - 1)

    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]


@pytest.fixture
def ahead():
    """A feed, and the same read ahead as for a GPU."""
    feed = Counting(broken=9)
    with pretended_gpu(), read_ahead(feed, GPU) as served:
        yield feed, served


def test_a_feed_on_a_cpu_is_as_it_is():
    feed = Counting()
    with read_ahead(feed, torch.device("cpu")) as served:
        assert served is feed


def test_batches_come_in_order_from_another_thread(ahead):
    feed, served = ahead
    assert isinstance(served, Ahead) and served.state_dict() == {"step": 0}
    for number in range(4):
        batch = next(served)
        assert batch.step == number and batch.ids.tolist() == [number] * 2
        assert served.state_dict() == {"step": number + 1}
    assert threading.current_thread() not in feed.readers and len(feed.readers) == 1


def test_a_position_that_is_set_drops_what_was_read_ahead(ahead):
    _, served = ahead
    for _ in range(3):
        next(served)
    served.load_state_dict({"step": 1})
    assert served.state_dict() == {"step": 1}
    assert [next(served).step for _ in range(3)] == [1, 2, 3]


def test_an_error_comes_with_the_batch_that_it_belongs_to(ahead):
    _, served = ahead
    assert [next(served).step for _ in range(9)] == list(range(9))
    with pytest.raises(OSError, match="the disk is gone"):
        next(served)
    assert served.state_dict() == {"step": 9}
