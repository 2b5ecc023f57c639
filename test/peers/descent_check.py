"""Gradients of experts by PyTorch's autograd, and steps of its Adam.

usage: descent_check.py IN OUT
IN is a JSON list of the objects of src/engine/descent.ts: "hidden", "width", "activation", "matrices", biases, "batch", and "steps".
OUT has for each the sum of squares "lost", the gradients of half of it, and each matrix after steps on the gradient times the
cosine of the step's number.
"""

import json
import math
import sys

import torch

torch.set_default_dtype(torch.float64)


def activated(kind, gate, up):
    if isinstance(kind, dict):
        limit = kind["limit"]
        u = up.clamp(-limit, limit)
        if kind["kind"] == "clamped_swiglu":
            g = gate.clamp(max=limit)
            return (u + 1) * g * torch.sigmoid(kind["alpha"] * g)
        return torch.nn.functional.silu(gate).clamp(max=limit) * u
    named = {
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "sigmoid": torch.sigmoid,
        "relu": torch.relu,
    }
    return named[kind](gate) * up


def check(case):
    hidden, width, batch = case["hidden"], case["width"], case["batch"]
    shapes = {"gate": (-1, width, hidden), "up": (-1, width, hidden), "down": (-1, hidden, width)}
    matrices = {part: torch.tensor(values).view(shapes[part]).requires_grad_() for part, values in case["matrices"].items()}
    bias = lambda name, size: torch.tensor(case[name]).view(-1, size) if name in case else None
    gate_bias, up_bias, down_bias = bias("gateBias", width), bias("upBias", width), bias("downBias", hidden)
    x, y = (torch.tensor(batch[name]).view(-1, hidden)[batch["rows"]] for name in "xy")
    made = torch.zeros_like(y)
    for expert in range(len(batch["offsets"]) - 1):
        pairs = slice(batch["offsets"][expert], batch["offsets"][expert + 1])
        tokens = torch.tensor(batch["tokens"][pairs])
        inner = torch.tensor(batch["inputFactors"][pairs])[:, None] if "inputFactors" in batch else 1.0
        own = inner * x[tokens]
        up = own @ matrices["up"][expert].T + (0 if up_bias is None else up_bias[expert])
        gate = up
        if "gate" in matrices:
            gate = own @ matrices["gate"][expert].T + (0 if gate_bias is None else gate_bias[expert])
        output = activated(case["activation"], gate, up) @ matrices["down"][expert].T
        output = output + (0 if down_bias is None else down_bias[expert])
        made = made.index_add(0, tokens, torch.tensor(batch["factors"][pairs])[:, None] * output)
    lost = ((y - made) ** 2).sum()
    (lost / 2).backward()
    result = {"lost": [lost.item()]}
    for part, matrix in matrices.items():
        gradient = matrix.grad.clone()
        result[part] = gradient.ravel().tolist()
        adam = torch.optim.Adam([matrix], lr=0.1, betas=(0.9, 0.99), eps=1e-30)
        for step in range(1, case["steps"] + 1):
            matrix.grad = gradient * math.cos(step)
            adam.step()
        result[f"{part} after"] = matrix.detach().ravel().tolist()
    return result


with open(sys.argv[1]) as file:
    cases = json.load(file)
with open(sys.argv[2], "w") as file:
    json.dump([check(case) for case in cases], file)
