"""Tokens per second of transformers' generate on workloads; see answers.ts.

    python transformers_answers.py MODEL THREADS < workloads.json

Greedy, bfloat16, prompts padded on the left. A batch goes on until its longest answer has ended; answers that have ended
before get padding, as after an end token. For each size of a batch the faster experts implementation is taken, of those
that do not copy the weights for each row (`batched_mm` would need 25 GB for 16 short prompts). Prints JSON
{seconds: processor time of this program, results: {workload: {experts, speeds}}}.
"""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging

# Longer than this no trial of an experts implementation goes on.
SECONDS = 60
TRIAL_TOKENS = 4


class Lengths(StoppingCriteria):
    """Ends each answer after its number of tokens; all of them after `limit` seconds."""

    # generate asks whether a criterion has this name before it pads answers that have ended. No token has this id.
    eos_token_id = torch.tensor([-1])

    def __init__(self, prompt, tokens, limit):
        self.prompt, self.tokens = prompt, torch.tensor(tokens)
        self.end = time.perf_counter() + limit

    def __call__(self, input_ids, scores, **kwargs):
        done = input_ids.shape[1] - self.prompt >= self.tokens
        return done | (time.perf_counter() > self.end)


folder, threads = sys.argv[1], int(sys.argv[2])
workloads = json.load(sys.stdin)
torch.set_num_threads(threads)
logging.disable_progress_bar()
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
model.eval()


def answer(requests, limit=float("inf")):
    """Answers some requests as one batch. Returns the number of tokens."""
    longest = max(len(request["prompt"]) for request in requests)
    ids = torch.zeros(len(requests), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, request in enumerate(requests):
        ids[row, longest - len(request["prompt"]) :] = torch.tensor(request["prompt"])
        mask[row, longest - len(request["prompt"]) :] = 1
    tokens = [request["tokens"] for request in requests]
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=max(tokens),
            pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([Lengths(longest, tokens, limit)]),
        )
    assert limit < float("inf") or out.shape[1] == longest + max(tokens)
    return sum(tokens)


def speed(batches):
    """Tokens per second of batches, one after the other."""
    start = time.perf_counter()
    tokens = sum(answer(batch) for batch in batches)
    return tokens / (time.perf_counter() - start)


def faster(batch):
    """The experts implementation that is faster on a batch."""
    trial = [{"prompt": request["prompt"], "tokens": TRIAL_TOKENS} for request in batch]
    times = {}
    for implementation in ["eager", "grouped_mm"]:
        try:
            model.set_experts_implementation(implementation)
            # The first use makes memory and kernels ready.
            for _ in range(2):
                start = time.perf_counter()
                answer(trial, SECONDS)
                times[implementation] = time.perf_counter() - start
                if times[implementation] > SECONDS:
                    break
        except (RuntimeError, ValueError, NotImplementedError) as error:
            print(f"{implementation} does not run: {str(error).splitlines()[0]}", file=sys.stderr)
    print(f"{len(batch)} answers of {TRIAL_TOKENS} tokens, seconds: {times}", file=sys.stderr)
    return min(times, key=times.get)


chosen = {}
results = {}
for workload in workloads:
    size = workload["batch"]
    batches = [group[i : i + size] for group in workload["groups"] for i in range(0, len(group), size)]
    if size not in chosen:
        chosen[size] = faster(batches[0])
    model.set_experts_implementation(chosen[size])
    speeds = [speed(batches) for _ in range(workload["rounds"])]
    print(f"{workload['name']}: {speeds} tokens/s", file=sys.stderr)
    results[workload["name"]] = {"experts": chosen[size], "speeds": speeds}
print(json.dumps({"seconds": time.process_time(), "results": results}))
