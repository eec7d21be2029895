"""Documents with two answers in each, one per goal: ordinary topics follow the louder, goal-driven ones the goal."""

from typing import Literal

import numpy as np

from counterpoint.text.topics.corpus import Corpus, Phrases

GOALS = {"a": "which health problem or symptom does the person have?", "b": "which sport does the person do?"}
AILMENTS = {
    "stomach": "nausea vomiting indigestion diarrhea stomachache heartburn bloating bowel",
    "skin": "rash itching eczema blisters acne psoriasis hives sunburn",
    "breathing": "cough asthma wheezing pneumonia bronchitis sneezing sinus congestion",
    "head": "headache migraine dizziness concussion insomnia fainting vertigo seizures",
    "joints": "arthritis knee tendon sprain cartilage backache ligament swelling",
}
SPORTS = {
    "football": "football goalkeeper striker midfielder penalty soccer offside dribbling",
    "tennis": "tennis racket serve backhand wimbledon forehand volley deuce",
    "swimming": "swimming freestyle butterfly pool breaststroke diving goggles swimmer",
    "cycling": "cycling bicycle peloton pedals cyclist saddle handlebars sprinter",
    "skiing": "skiing slopes snowboard slalom alpine skis downhill snow",
}
FILLER = (
    "monday tuesday yesterday morning evening friend sister neighbour city office letter garden train coffee music "
    "window paper winter summer weather street table phone number afternoon family kitchen weekend house story"
)


def goal_corpus(
    documents: int = 600,
    seed: int = 0,
    goal: Literal["a", "b"] = "a",
    quiet: int = 3,
    loud: int = 7,
    filler: int = 6,
    silent: float = 0.15,
    known: bool = False,
) -> Corpus:
    """Documents of independent labels `a` (an ailment, `quiet` words) and `b` (a sport, `loud` words), five each.

    A share `silent` of the documents says nothing of an ailment (its label `a` is ""). The goal names one of the two
    systems. With `known` the candidates are the answer itself, as a language model without fault would give them:
    at most two words of the goal's own, or none. Source: reconstruction, docs/methods/gctm-ot.md.

    >>> corpus = goal_corpus(4, known=True, silent=0.0)
    >>> sorted(corpus.columns), all(1 <= len(phrases) <= 2 for phrases in corpus.candidates)
    (['a', 'b'], True)
    """
    random = np.random.Generator(np.random.PCG64(seed))
    texts: list[str | None] = []
    labels: dict[str, list[str]] = {"a": [], "b": []}
    phrases: list[Phrases] = []
    for _ in range(documents):
        a = "" if random.random() < silent else str(random.choice(list(AILMENTS)))
        b = str(random.choice(list(SPORTS)))
        own = {
            "a": random.choice(AILMENTS[a].split(), quiet).tolist() if a else [],
            "b": random.choice(SPORTS[b].split(), loud).tolist(),
        }
        words = [*own["a"], *own["b"], *random.choice(FILLER.split(), filler).tolist()]
        order = random.permutation(len(words))
        texts.append(". ".join(" ".join(words[i] for i in part) for part in np.array_split(order, 4)))
        labels["a"].append(a)
        labels["b"].append(b)
        phrases.append(tuple(dict.fromkeys(own[goal][:2])))
    return Corpus.about(GOALS[goal], texts, labels, phrases if known else None, source=f"simulated, goal {goal}")
