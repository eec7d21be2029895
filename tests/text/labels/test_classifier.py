"""Classifiers: what is read and written is what transformers reads, what is refused, and the guards of training."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from counterpoint import load
from counterpoint.errors import UserError
from counterpoint.pretrained.classifiers import (
    SequenceClassifier,
    classifier_facts,
    read_classifier,
    write_classifier,
)
from counterpoint.text.labels.classifier import TextClassifier
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.last_layer import sparse_logistic
from counterpoint.training import Clock, Run, Trainer, rng
from text.tiny import WORDS, texts, tiny
from text.tiny_classifier import CLASSES, classifier, labelled

CLOCK = Clock(0, "fit", 0, 0, 1)


def opened(folder: str) -> SequenceClassifier:
    base = read_classifier(folder)
    return SequenceClassifier.of(base, classifier_facts(base))


def fitted(data: LabelledTexts, run: Run | None = None, **options: Any) -> TextClassifier:
    small = {"base": classifier(), "epochs": 1, "batch_size": 8, "dropout": 0.0, "optim": {"lr": 0.01}}
    return TextClassifier(**(small | options)).fit(data, trainer=Trainer(run=run, progress=False))


def theirs(folder: str | Path, given: list[str]) -> torch.Tensor:
    """Logits as transformers gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, tokenizer = (
            AutoModelForSequenceClassification.from_pretrained(folder),
            AutoTokenizer.from_pretrained(folder),
        )
    assert not model.training
    with torch.no_grad():
        return model(**tokenizer(given, padding=True, truncation=True, return_tensors="pt")).logits


def test_logits_are_those_of_transformers() -> None:
    given = texts(20, 1)
    ours = opened(classifier())
    with torch.no_grad():
        assert torch.allclose(ours.logits(ours.tokeniser(given)), theirs(classifier(), given), atol=1e-6)


@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_architectures_are_read(tmp_path: Path, kind: str) -> None:
    shutil.copytree(classifier(), tmp_path / "a")
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {"bad": 0, "good": 1}, "vocab_size": len(WORDS) + 5}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if kind == "distilbert":
            config: Any = DistilBertConfig(
                dim=8, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=24, **names
            )
            network: Any = DistilBertForSequenceClassification(config)
        else:
            small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
            config = RobertaConfig(max_position_embeddings=26, pad_token_id=0, **small, **names)
            network = RobertaForSequenceClassification(config)
    config.architectures = [type(network).__name__]
    (tmp_path / "a" / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(network.state_dict(), tmp_path / "a" / "model.safetensors")
    ours, given = opened(str(tmp_path / "a")), texts(6, 1)
    tokens = ours.tokeniser(given)
    ids, mask = tokens.ids, (torch.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]).long()
    with torch.no_grad():
        assert torch.allclose(ours.logits(tokens), network.eval()(input_ids=ids, attention_mask=mask).logits, atol=1e-6)
    assert ours.vectors(tokens).shape == (6, 8)
    assert ours.saliency(tokens).shape == ids.shape
    assert ours.last_layer.out_features == 2


def test_what_is_written_is_read_by_transformers(tmp_path: Path) -> None:
    method = fitted(labelled(40, 0))
    write_classifier(tmp_path / "out", method.classifier)
    given = texts(12, 3)
    ours = method.predict(LabelledTexts.of(given)).probabilities
    assert torch.allclose(ours.float(), theirs(tmp_path / "out", given).softmax(dim=1), atol=1e-5)
    assert torch.allclose(
        fitted(labelled(40, 0), base=str(tmp_path / "out"), epochs=0).predict(LabelledTexts.of(given)).probabilities,
        ours,
        atol=1e-6,
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert config["architectures"] == ["BertForSequenceClassification"]


def broken(tmp_path: Path, **change: Any) -> str:
    folder = tmp_path / "broken"
    shutil.copytree(classifier(), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    return str(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": ["BertForMaskedLM"]}, r"unknown head \(BertForMaskedLM\)"),
        ({"architectures": None}, r"unknown head \(not said\)"),
        ({"problem_type": "multi_label_classification"}, "several classes at once"),
        ({"problem_type": "regression"}, "it says a number"),
        ({"auto_map": {"AutoModel": "theirs.Model"}}, "code of its own, which is never run"),
        ({"hidden_size": 12}, "its weights are not those of a bert classifier"),
        ({"model_type": "none-such"}, "its tokenizer or configuration cannot be read"),
    ],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        opened(broken(tmp_path, **change))


def test_weights_without_a_head_or_in_pickles_are_refused(tmp_path: Path) -> None:
    folder = Path(broken(tmp_path))
    state = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in state.items() if not n.startswith("classifier")}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"first difference: classifier\.bias"):
        opened(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no \*\.safetensors; other weight files are not read"):
        opened(str(folder))
    with pytest.raises(UserError, match="is neither a folder nor"):
        read_classifier(str(tmp_path / "absent"))


def test_an_encoder_gets_a_head_and_learns(tmp_path: Path) -> None:
    words = [f"word{1 + row % 2} {text}" for row, text in enumerate(texts(64, 0))]
    data = LabelledTexts.of(words, {"label": [CLASSES[row % 2] for row in range(64)]})
    method = fitted(data, Run(tmp_path / "run"), base=tiny(), epochs=6)
    assert TextClassifier.judge(method, data).summary()["accuracy"] > 0.8
    found = load(tmp_path / "run").predict(data).probabilities
    assert torch.equal(found, method.predict(data).probabilities)
    with pytest.raises(UserError, match=r"epochs=0: .* has no classes of its own yet"):
        fitted(data, base=tiny(), epochs=0)


def test_the_saliency_is_the_papers() -> None:
    """By brute force in float64: the gradient of each word vector through the network that takes word vectors."""
    ours = opened(classifier()).double()
    for text in texts(5, 4):
        tokens = ours.tokeniser([text])
        words = ours.words(tokens.ids).detach().requires_grad_()
        logits = ours.network(inputs_embeds=words, attention_mask=torch.ones_like(tokens.ids)).logits[0]
        said = int(logits.argmax())
        (own,) = torch.autograd.grad(-logits.log_softmax(0)[said], words, retain_graph=True)
        (of_logit,) = torch.autograd.grad(logits[said], words)
        paper, code = ((own * words)[0].norm(dim=1), of_logit[0].abs().sum(dim=1))
        assert torch.allclose(ours.saliency(tokens)[0], paper, atol=1e-12)
        assert torch.allclose(ours.saliency(tokens, "gradient")[0], code, atol=1e-12)


def test_padding_has_no_saliency_and_changes_none() -> None:
    ours, given = opened(classifier()).double(), texts(30, 5)
    together = ours.tokeniser(given)
    found = ours.saliency(together)
    for row, text in enumerate(given):
        alone = ours.saliency(ours.tokeniser([text]))[0]
        assert torch.allclose(found[row, : len(alone)], alone, atol=1e-12)
        assert not found[row, len(alone) :].any()


@pytest.mark.parametrize("penalty", [0.003, 0.05])
def test_the_last_layer_is_scikit_learns(penalty: float) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 6)) * [1, 1, 1, 1, 0.5, 2]
    y = (x[:, 0] + 0.5 * x[:, 1] + 0.5 * random.normal(size=80) > 0).astype(int)
    weights, bias = sparse_logistic(torch.from_numpy(x), torch.from_numpy(y), 2, penalty)
    scaled = (x - x.mean(0)) / x.std(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # two classes as one: half of the penalty on each of two opposite weights is the whole on their difference
        peer = LogisticRegression(penalty="l1", C=1 / (80 * penalty), solver="saga", tol=1e-9, max_iter=20000).fit(
            scaled, y
        )
    logits = torch.from_numpy(x) @ weights.T + bias
    found = (logits[:, 1] - logits[:, 0]).numpy()
    assert np.allclose(found, peer.decision_function(scaled), atol=2e-3)


def test_jtt_weights_up_what_the_first_training_gets_wrong() -> None:
    data = labelled(64, 0, complete=True)
    method = fitted(data, training="jtt", epochs=1, upweight=4, optim={"lr": 1e-6})
    first = fitted(data, training="erm", epochs=0).predict(data).labels
    wrong = [said != truth for said, truth in zip(first, data.labels("label"), strict=True)]
    assert method.errors.wrong.tolist() == wrong  # a training so slow that nothing changes
    plan = next(phase for phase in method.phases(data) if phase.name == "fit").plan(rng(0))
    counts = np.bincount(torch.cat(list(plan)).numpy(), minlength=64)
    assert counts.tolist() == [4 if one else 1 for one in wrong]


def test_nfl_pulls_towards_the_pretrained_weights() -> None:
    data = labelled(64, 0, complete=True)
    far, near = (fitted(data, training="nfl", pull=pull, epochs=3) for pull in (1e-6, 10.0))
    distances = [float(method.start.distance(method.classifier.network).detach()) for method in (far, near)]
    assert distances[1] < distances[0] / 4
    batch = far.batch(data, torch.arange(8), rng(0))
    expected = sum(
        float((p - q).detach().square().sum())
        for (name, p), q in zip(far.classifier.network.named_parameters(), far.start.network.parameters(), strict=True)
        if name.startswith(("bert.embeddings", "bert.encoder"))
    )
    assert float(far.losses(batch, CLOCK)["pull"].detach()) == pytest.approx(1e-6 * expected, rel=1e-4)


def test_dfr_changes_the_last_layer_alone() -> None:
    data = labelled(64, 0, complete=True)
    method, before = fitted(data, training="dfr", epochs=0, held_out=0.5), opened(classifier())
    changed = [
        name
        for (name, p), q in zip(method.classifier.network.named_parameters(), before.network.parameters(), strict=True)
        if not torch.equal(p, q)
    ]
    assert changed == ["classifier.weight", "classifier.bias"]


def test_one_class_and_strange_labels_are_refused() -> None:
    one = LabelledTexts.of(texts(8, 0), {"label": ["bad"] * 8})
    with pytest.raises(UserError, match='one class only, "bad"'):
        fitted(one, base=tiny())
    with pytest.raises(
        UserError, match=r'row 1, column "label": "fine" is none of the classifier\'s classes bad, good'
    ):
        fitted(LabelledTexts.of(texts(8, 0), {"label": ["fine"] * 8}))


def test_a_very_long_text_is_cut_and_that_is_said() -> None:
    data = LabelledTexts.of(["word1 " * 20_000, *texts(15, 0)], {"label": ["bad", "good"] * 8})
    method = fitted(data)
    assert method.facts["cut"] == pytest.approx(1 / 16, abs=1e-4)
    assert method.predict(data).probabilities.isfinite().all()
