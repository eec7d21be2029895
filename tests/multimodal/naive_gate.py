"""Gated Symile as its card writes it, pair by pair, with vectors of size d for every (query, candidate)."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from counterpoint.multimodal.gate import Gate


def naive_products(gate: Gate, t: int, vectors: dict[int, Tensor], candidates: Tensor) -> Tensor:
    """`<c_j, prod_m g_m(i, j)>`, one gated vector per pair."""
    others = sorted(vectors)
    n, m = len(vectors[others[0]]), len(candidates)
    scores = candidates.new_zeros(n, m)
    tau = softplus(gate.theta) + 0.1 if gate.kind == "attention" else None
    for i in range(n):
        for j in range(m):
            weights = _weights(gate, t, others, {k: vectors[k][i] for k in others}, candidates[j], tau)
            product = candidates[j]
            for k in others:
                product = product * _gated(gate, k, vectors[k][i], weights[k])
            scores[i, j] = product.sum()
    return scores


def _weights(gate, t, others, e, candidate, tau):
    if gate.kind == "matrix":
        return {k: gate.table[t, k].sigmoid() for k in others}
    q = normalize(gate.query[t].weight @ candidate, dim=0)
    s = {k: (normalize(gate.key[k].weight @ e[k], dim=0) * q).sum() / tau for k in others}
    null = (gate.null_mlp(candidate[None])[0, 0] + gate.null_bias[t]) / tau if gate.null else None
    if gate.activation == "sigmoid":
        shut = torch.zeros(()) if null is None else null.sigmoid()
        return {k: s[k].sigmoid() * (1 - shut) for k in others}
    logits = torch.stack([*s.values(), *([] if null is None else [null])])
    return dict(zip(others, logits.softmax(dim=0)[: len(others)], strict=True))


def _gated(gate, k, e, w):
    alpha = gate.gamma.sigmoid()
    if gate.neutral_kind == "none":
        return (1 - alpha) * e + alpha * w * e
    v = normalize(gate.directions[k], dim=0)
    return normalize((1 - alpha) * e + alpha * (w * e + (1 - w) * v), dim=0)
