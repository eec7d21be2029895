"""CLEAR: its losses against a few lines of float64, its draws, and what it learns in a world with a known answer."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import scripted  # noqa: F401 (registers models)
from agents.tiny_llama import tiny_llama
from counterpoint.agents import environment as world
from counterpoint.agents.causal import Causal, Words
from counterpoint.agents.clear import CLEAR
from counterpoint.agents.grpo import SMALL, advantages, clipped
from counterpoint.agents.trajectories import Trajectories
from counterpoint.errors import UserError
from counterpoint.training import Clock, Trainer, rng

PROMPTS = ["word1 word2 word3", "word4", "Do : word5 word6 word7 word8"]
ANSWERS = ["word9 word10", "Avoid : word11 .", "word12"]


@pytest.fixture(scope="module")
def model() -> Causal:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Causal(Causal.measure(tiny_llama(), []), 4, 0, 0).double()
        for name, parameter in made.named_parameters():
            if name.endswith("up"):
                parameter.data.normal_(0, 0.3)
    return made


def test_log_probabilities_are_those_of_each_text_alone(model: Causal) -> None:
    prompts, answers = ([model.encode(text) for text in texts] for texts in (PROMPTS, ANSWERS))
    found = model.logprobs(model.sequences(prompts, answers)).sum(1).detach()
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        logits = model.network(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1).detach()
        wanted = sum(logits[len(prompt) + n - 1, token] for n, token in enumerate(answer))
        assert float(found[place]) == pytest.approx(float(wanted), rel=1e-9)


def test_the_likeliest_text_is_that_of_the_library(model: Causal) -> None:
    prompts = [model.encode(text) for text in PROMPTS]
    made = model.write(prompts, 6)
    for prompt, tokens in zip(prompts, made, strict=True):
        given = torch.tensor([prompt])
        theirs = model.network.generate(  # type: ignore[operator]
            input_ids=given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=6, pad_token_id=0
        )
        assert theirs[0, len(prompt) :].tolist() == tokens


def test_a_draw_depends_on_its_own_prompt_and_stream(model: Causal) -> None:
    prompts = [model.encode(text) for text in PROMPTS]
    together = model.write(prompts, 8, [rng(n) for n in range(3)])
    alone = [model.write([prompt], 8, [rng(n)])[0] for n, prompt in enumerate(prompts)]
    assert together == alone
    assert together != model.write(prompts, 8, [rng(n + 9) for n in range(3)])


def test_draws_follow_the_model(model: Causal) -> None:
    prompt = model.encode(PROMPTS[0])
    chances = model.network(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1).detach()
    first = [one[0] for one in model.write([prompt] * 4000, 1, [rng(n) for n in range(4000)])]
    found = np.bincount(first, minlength=len(chances)) / 4000
    assert np.abs(found - chances.numpy()).max() < 0.03


def test_sft_is_the_cross_entropy_of_the_library(model: Causal) -> None:
    """Of rows with equally long answers; else each row counts once, whatever its length."""
    method = CLEAR()
    method.model = model
    given = model.sequences(
        [model.encode(t) for t in PROMPTS],
        [model.encode("word1 word2"), model.encode("word3 ."), model.encode("word4 :")],
    )
    labels = given.ids.masked_fill(~given.target, -100)
    theirs = model.network(input_ids=given.ids, attention_mask=given.mask.long(), labels=labels).loss
    ours = method._imitate(given, Clock(0, "sft", 0, 0, 1))["sft"]
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)


def test_advantages_are_rewards_in_units_of_their_group() -> None:
    rewards = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = (rewards.numpy() - rewards.numpy().mean(1, keepdims=True)) / (
        rewards.numpy().std(1, keepdims=True) + SMALL
    )
    np.testing.assert_allclose(advantages(rewards).numpy(), wanted, rtol=1e-12)


def test_grpo_against_its_equation_token_by_token() -> None:
    generator = torch.Generator().manual_seed(1)
    now, old, first = (torch.randn(3, 4, generator=generator, dtype=torch.float64) * 0.4 for _ in range(3))
    inside = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)
    share = torch.tensor([1.0, -0.7, 0.0], dtype=torch.float64)
    loss, distance = clipped(now, old, first, share, inside, 0.2)
    for row in range(3):
        gains, gaps = [], []
        for place in range(4):
            if inside[row, place]:
                rho = math.exp(now[row, place] - old[row, place])
                a = float(share[row])
                gains.append(min(rho * a, max(0.8, min(1.2, rho)) * a))
                gap = float(first[row, place] - now[row, place])
                gaps.append(math.exp(gap) - gap - 1)
        assert float(loss[row]) == pytest.approx(-np.mean(gains), abs=1e-12)
        assert float(distance[row]) == pytest.approx(np.mean(gaps), abs=1e-12)


def test_at_the_first_update_the_gradient_is_the_policy_gradient() -> None:
    now = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    share, inside = torch.tensor([0.5, -1.5], dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    loss, distance = clipped(now, now.detach(), now.detach(), share, inside, 0.2)
    (loss.sum() + distance.sum()).backward()
    assert now.grad is not None
    np.testing.assert_allclose(now.grad.numpy(), (-share[:, None] / 3).expand(2, 3).numpy(), rtol=1e-12)


def learned(**options: Any) -> tuple[CLEAR, Trajectories]:
    chosen = world.templates()
    order = torch.randperm(len(chosen), generator=rng(3)).tolist()
    train = world.runs([chosen[n] for n in order[:30]], 2, 6, 0)
    test = world.runs([chosen[n] for n in order[30:]], 2, 1, 1)
    method = CLEAR(environment="apps", **{"epochs": 16, "rl_steps": 0, **options})
    return method.fit(train, trainer=Trainer(progress=False)), test


def test_guidance_for_unseen_templates_beats_none() -> None:
    method, test = learned()
    naive = np.mean([world.reward(str(task), "", 20, 7) for task in test.tasks])
    found = CLEAR.judge(method, test).summary()
    assert found["reward"] > naive + 0.1
    assert found["distinct"] > 0.2
    assert method.facts["without contrast"] < method.facts["tasks"] / 2
    assert not any(letter.isdigit() for row in method.guidance for letter in row["guidance"])


@pytest.mark.slow
def test_reinforcement_raises_the_reward_of_what_is_drawn() -> None:
    method, _ = learned(epochs=4, rl_steps=40, rl_lr=2e-3, updates=1, repeats=8)
    drawn = [np.mean([one["reward"] for one in method.drawn])]
    before, _ = learned(epochs=4, rl_steps=1, rl_lr=1e-9, updates=1, repeats=8)
    texts = sorted(set(map(str, world.runs(world.templates()[:20], 2, 1, 0).tasks)))

    def reward(model: CLEAR) -> float:
        prompts = [model.model.encode(text) for text in texts for _ in range(4)]
        made = model.model.write(prompts, 40, [rng(n) for n in range(len(prompts))])
        return float(
            np.mean([world.reward(texts[n // 4], model.model.decode(one), 4, n) for n, one in enumerate(made)])
        )

    assert drawn
    assert reward(method) > reward(before)


def test_what_cannot_be_learned_from_is_refused() -> None:
    flat = Trajectories.of(["a", "b"], [[("x", "")]] * 2, [1.0, 1.0])
    with pytest.raises(UserError, match="no task has runs of different outcome"):
        CLEAR().fit(flat, trainer=Trainer(progress=False))
    with pytest.raises(UserError, match="knows no words but the differ"):
        CLEAR(reflector="careless").fit(flat, trainer=Trainer(progress=False))


def test_a_pretrained_base_learns_by_updates_alone(tmp_path: Path) -> None:
    import counterpoint as cp

    data = world.runs(world.templates()[:4], 2, 4, 0)
    method = CLEAR(base=tiny_llama(), epochs=1, longest=6, reflector="careless").fit(
        data, trainer=Trainer(progress=False)
    )
    kept = method.save(tmp_path / "run")
    from safetensors.torch import load_file

    assert all(name.endswith(("up", "down")) for name in load_file(kept / "model.safetensors"))
    tasks = [str(task) for task in data.tasks[:3]]
    assert cp.load(kept).advise(tasks) == method.advise(tasks)
    assert "lm_head" not in " ".join(method.learned)


def test_words_by_number() -> None:
    words = Words(Words.found_in(["Do: login; delete id=…. delete", "do login : ; = … . id"]))
    assert words.decode(words.encode("Do: login; delete id=….")) == "do: login; delete id=…."
    assert words.encode("nonsense") == [2]
