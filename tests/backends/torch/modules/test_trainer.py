"""The Trainer of transformers, with the optimizer that it takes by default, sees the weights that it trains."""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import tnlayers as tnl  # noqa: E402


class Classifier(torch.nn.Module):
    """A small model with the signature that the Trainer calls."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = tnl.nn.MPOLinear(64, 64, bond_dim=8, seed=0)
        self.head = torch.nn.Linear(64, 4)

    def forward(self, x, labels=None):
        logits = self.head(torch.relu(self.body(x)))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_evaluation_between_steps_equals_that_of_a_fresh_copy(tmp_path):
    torch.manual_seed(1)
    target = torch.randn(64, 4)
    x = torch.randn(128, 64)
    data = [{"x": row, "labels": label} for row, label in zip(x, (x @ target).argmax(1), strict=True)]
    seen = []

    class Checked(transformers.Trainer):
        def evaluate(self, *arguments, **keywords):
            metrics = super().evaluate(*arguments, **keywords)
            fresh = copy.deepcopy(self.model).eval()
            with torch.no_grad():
                true = fresh(x, torch.stack([row["labels"] for row in data]))["loss"]
            seen.append((metrics["eval_loss"], float(true)))
            return metrics

    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=4, per_device_train_batch_size=16, per_device_eval_batch_size=128,
        learning_rate=1e-2, eval_strategy="epoch", save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Checked(Classifier(), arguments, train_dataset=data, eval_dataset=data)
    trainer.evaluate()
    trainer.train()
    assert trainer.optimizer.optimizer.defaults["fused"]  # what counts no versions
    assert len(seen) == 5
    assert seen[-1][0] < seen[0][0] / 2
    for loss, true in seen:
        assert abs(loss - true) <= 1e-4 * true
