"""What a log shows of a long training: a line a minute, and the time left."""

import io

from rich.console import Console

from tnlayers.train.history import EpochRecord
from tnlayers.train.progress import Lines

RECORD = EpochRecord(
    epoch=2, train_loss=1.5, test_loss=1.4, test_accuracy=0.5, lr=0.1, seconds=400.0, test_seconds=10.0
)


def test_long_epochs_show_a_line_a_minute_with_the_time_left():
    now, text = [1000.0], io.StringIO()
    lines = Lines(Console(file=text, width=200), clock=lambda: now[0])
    lines.begin("vgg16 mpo seed 0", epochs=4, done=1)
    for step in range(1, 201):
        now[0] += 2.0
        lines.step(2, step, 200)
    lines.epoch(RECORD)
    shown = text.getvalue().splitlines()
    assert shown[0] == "vgg16 mpo seed 0: epoch 2/4, step 30/200, 19 min 00 s left"
    assert len(shown) == 7
    assert shown[-1] == "vgg16 mpo seed 0: epoch 2/4, loss 1.5000, test 50.00 %, 400.00 s/epoch, 13 min 20 s left"


def test_short_epochs_show_no_steps():
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200))
    lines.begin("fc2", epochs=2, done=0)
    for step in range(1, 100):
        lines.step(1, step, 100)
    lines.epoch(RECORD)
    assert text.getvalue() == "fc2: epoch 2/2, loss 1.5000, test 50.00 %, 400.00 s/epoch\n"
