"""Seconds of GPTQ in PyTorch; see gptq.ts.

    python gptq.py < {folder, shapes, threads, rounds, processor}

The published algorithm (arXiv 2210.17323) in float32: the upper Cholesky factor of the inverse, lazy updates of blocks of
128 columns, all rows at once. Weights lie column by column, so that each step reads and writes neighbours. Prints JSON
{seconds: processor time of this program, results: [{gram, factor, loop, error}]}, one for each round after the first.
"""

import json
import sys
import time

import torch

BLOCK = GROUP = 128
DAMPING = 0.01


def gram_of(inputs):
    return inputs.T @ inputs


def factor_of(gram):
    gram = gram.clone()
    gram.diagonal().add_(DAMPING * gram.diagonal().mean())
    factor = torch.linalg.cholesky(gram)
    torch.cholesky_inverse(factor, out=gram)
    return torch.linalg.cholesky(gram, upper=True)


def quantise(weight, factor):
    """Values of int4 codes in symmetric groups of 128, for weight [columns, rows], which is overwritten."""
    columns, rows = weight.shape
    values = torch.empty_like(weight)
    errors = torch.empty(BLOCK, rows)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        block, own = weight[start:end], factor[start:end, start:end]
        diagonal = own.diagonal().tolist()
        scale = (block.abs().amax(0) / 7.5).bfloat16().float()
        inverse = 1 / scale
        for i in range(end - start):
            column, value, error = block[i], values[start + i], errors[i]
            torch.mul(column, inverse, out=value).round_().clamp_(-8, 7).mul_(scale)
            torch.sub(column, value, out=error).div_(diagonal[i])
            block[i + 1 :].addr_(own[i, i + 1 :], error, alpha=-1)
        weight[end:].addmm_(factor[start:end, end:].T, errors[: end - start], alpha=-1)
    return values


asked = json.load(sys.stdin)
torch.set_num_threads(asked["threads"])
now = time.process_time if asked["processor"] else time.perf_counter
works = []
for index, (rows, columns) in enumerate(asked["shapes"]):
    weight = torch.from_file(f"{asked['folder']}/{index}.weight", size=rows * columns).reshape(rows, columns)
    inputs = torch.frombuffer(bytearray(open(f"{asked['folder']}/{index}.inputs", "rb").read()), dtype=torch.float32)
    works.append((weight.T.contiguous(), inputs.reshape(-1, columns)))

results = []
with torch.inference_mode():
    for _ in range(asked["rounds"] + 1):
        spent = {"gram": 0.0, "factor": 0.0, "loop": 0.0, "error": 0.0}
        for weight, inputs in works:
            updated = weight.clone()
            times = [now()]
            gram = gram_of(inputs)
            times.append(now())
            factor = factor_of(gram)
            times.append(now())
            values = quantise(updated, factor)
            times.append(now())
            for part, (begin, end) in zip(("gram", "factor", "loop"), zip(times, times[1:])):
                spent[part] += end - begin
            spent["error"] += (inputs.double() @ (weight - values).double()).square().sum().item()
        results.append(spent)
print(json.dumps({"seconds": time.process_time(), "results": results[1:]}))
