"""Word vectors of a package: those of its own code, in any company, as a frozen encoder or one that learns."""

import logging

import numpy as np
import pytest
import torch

from counterpoint.errors import UserError
from counterpoint.pretrained import static
from counterpoint.pretrained.texts import TextEncoder

TEXTS = ["a cat is sleeping", "a kitten naps", "stocks fell on Monday", "naïve café, 東京", "x" * 300]

pytest.importorskip("wordllama")


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.from_source("static")


def test_vectors_are_those_of_wordllama(encoder: TextEncoder) -> None:
    level = logging.root.level
    from wordllama.inference import WordLlamaInference  # sets up logging

    logging.root.setLevel(level)
    theirs = WordLlamaInference(encoder.base.words.weight.detach().numpy(), encoder.tokeniser.tokenizer)
    expected = theirs.embed(list(TEXTS), norm=True)
    encoder.tokeniser.tokenizer.no_padding()
    assert np.allclose(encoder.encode(TEXTS).numpy(), expected, atol=1e-5)


def test_a_text_has_one_vector_whatever_stands_beside_it(encoder: TextEncoder) -> None:
    together = encoder.encode(TEXTS)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.equal(encoder.encode([""]), torch.zeros(1, 256))


def test_it_knows_what_words_mean(encoder: TextEncoder) -> None:
    cat, kitten, stocks = encoder.encode(TEXTS[:3])
    assert float(cat @ kitten) > 0.3 > 0.15 > float(cat @ stocks)


def test_words_can_learn(encoder: TextEncoder) -> None:
    vectors = encoder(encoder.tokenise(TEXTS))
    vectors.sum().backward()
    assert bool(encoder.base.words.weight.grad.any())
    encoder.zero_grad()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "PACKAGE", "nowhere_to_be_found")
    with pytest.raises(UserError, match=r"pip install 'counterpoint\[text\]'"):
        TextEncoder.from_source("static")
