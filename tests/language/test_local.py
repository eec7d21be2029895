"""A causal model in this process: a tiny random one, from a folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from counterpoint.errors import UserError
from counterpoint.language import Ask, Failure, Reply
from counterpoint.language.local import Local, _drawn

WORDS = ["<pad>", "<end>", *(f"w{n}" for n in range(30))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = tmp_path_factory.mktemp("tiny")
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="w0"
    ).save_pretrained(made)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Local:
    return Local(str(folder))


def alike(one: Any, other: Any) -> bool:
    return one.text == other.text and one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_answers_do_not_depend_on_what_stands_beside_them(model: Local) -> None:
    asked = [Ask.of(f"w{n} w5 w{n + 1} w7", max_tokens=6, temperature=t, seed=n) for n in range(6) for t in (0.0, 1.0)]
    asked.append(Ask.of("w1 " * 30, max_tokens=5, temperature=0.5, top_k=5, top_p=0.8))
    together, alone = model.answer(asked), [model.answer([one])[0] for one in asked]
    assert all(alike(one, other) for one, other in zip(together, alone, strict=True))


def test_logprobs_are_those_of_the_model(model: Local) -> None:
    (reply,) = model.answer([Ask.of("w3 w4", max_tokens=4)])
    assert isinstance(reply, Reply)
    assert reply.logprobs is not None
    assert len(reply.logprobs) == reply.completion_tokens
    ids = model.tokenizer("w3 w4\n", return_tensors="pt", add_special_tokens=False)["input_ids"]
    for told in reply.logprobs:
        logits = model.model(ids).logits[0, -1].log_softmax(-1)
        assert told == pytest.approx(float(logits.max().detach()), abs=1e-4)
        ids = torch.cat([ids, logits.argmax()[None, None]], 1)


def test_draws_follow_the_distribution() -> None:
    logits, noise = torch.tensor([2.0, 1.0, 0.0, -1.0]), torch.Generator().manual_seed(0)
    ask = Ask.of("", temperature=2.0, top_k=3)
    draws = torch.stack([_drawn(logits, ask, noise).argmax() for _ in range(4000)]).bincount(minlength=4) / 4000
    wanted = (logits[:3] / 2).softmax(0)
    torch.testing.assert_close(draws[:3], wanted, atol=0.03, rtol=0)
    assert draws[3] == 0
    nucleus = Ask.of("", temperature=1.0, top_p=0.6)
    assert {int(_drawn(logits, nucleus, noise).argmax()) for _ in range(50)} == {0}


def test_too_long_a_conversation_fails_alone(model: Local) -> None:
    short, long = model.answer([Ask.of("w1", max_tokens=3), Ask.of("w1 " * 70, max_tokens=3)])
    assert isinstance(short, Reply)
    assert isinstance(long, Failure)
    assert "more than its 64" in long.why


def test_a_stop_text_ends_an_answer(model: Local) -> None:
    (whole,) = model.answer([Ask.of("w3 w4", max_tokens=8)])
    assert isinstance(whole, Reply)
    words = whole.text.split()
    (cut,) = model.answer([Ask.of("w3 w4", max_tokens=8, stop=(words[-1],))])
    assert isinstance(cut, Reply)
    assert words[-1] not in cut.text
    assert cut.finish == "stop"
    assert cut.completion_tokens <= whole.completion_tokens


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Local(str(tmp_path))
