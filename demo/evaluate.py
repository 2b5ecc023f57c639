"""Scores a model of the demo world with transformers, as it is and after pruning experts.

    python evaluate.py MODEL --data DATA [--prune 48 --by reap frequency] [--items 200]

It chose the demo model and checks `ream` from outside; it is not part of the product.
DATA holds tasks/NAME.jsonl and, for pruning, calibration/DOMAIN.jsonl.
"""

import argparse
import copy
import json
import os
import subprocess

# Threads that wait must sleep: spinning ones stop all progress when other programs need the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

DOMAINS = ["general", "math", "code"]
SAMPLES, SAMPLE_LENGTH = 512, 128
BATCH_TOKENS = 16384
MAX_NEW_TOKENS = 96

# Runs answers that are JavaScript: reads [{code, entry, tests}], writes [right or not].
JUDGE = """
const vm = require("node:vm");
const right = ({ code, entry, tests }) => tests.every(({ args, expected }) => {
  try {
    const call = `${code}\\n;JSON.stringify(${entry}(...${JSON.stringify(args)}))`;
    return vm.runInNewContext(call, {}, { timeout: 1000 }) === JSON.stringify(expected);
  } catch {
    return false;
  }
});
const items = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(items.map(right)));
"""


def read_lines(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


@torch.no_grad()
def score_choices(model, tokenizer, items):
    """For each item: is the choice with the highest total log-likelihood after the query the right one?"""
    rows = []
    for number, item in enumerate(items):
        query = tokenizer.encode(item["query"])
        for choice in item["choices"]:
            rows.append((number, query + tokenizer.encode(choice), len(query)))
    scores = [[] for _ in items]
    for begin in range(0, len(rows), 256):
        batch = rows[begin : begin + 256]
        width = max(len(ids) for _, ids, _ in batch)
        # Padding is on the right: no token before it can see it.
        padded = torch.tensor([ids + [0] * (width - len(ids)) for _, ids, _ in batch])
        likelihood = F.log_softmax(model(padded, use_cache=False).logits[:, :-1], -1)
        likelihood = likelihood.gather(-1, padded[:, 1:, None])[..., 0]
        for row, (number, ids, start) in zip(likelihood, batch):
            scores[number].append(row[start - 1 : len(ids) - 1].sum().item())
    return [max(range(len(s)), key=s.__getitem__) == item["gold"] for s, item in zip(scores, items)]


@torch.no_grad()
def generate(model, tokenizer, prompts):
    """Greedy answers to one user turn each."""
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
        for p in prompts
    ]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    answers = [""] * len(texts)
    for begin in range(0, len(order), 100):
        chosen = order[begin : begin + 100]
        inputs = tokenizer([texts[i] for i in chosen], return_tensors="pt", padding=True, padding_side="left")
        out = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        for i, ids in zip(chosen, out[:, inputs["input_ids"].shape[1] :]):
            answers[i] = tokenizer.decode(ids, skip_special_tokens=True)
    return answers


def follows(answer, rules):
    """Whether all rules hold. The words are what lies between the demanded start and end."""
    start = next((r["text"] for r in rules if r["rule"] == "starts"), "")
    end = next((r["text"] for r in rules if r["rule"] == "ends"), "")
    if not (answer.startswith(start) and answer.endswith(end)):
        return False
    middle = answer[len(start) : len(answer) - len(end)]
    for rule in rules:
        words = middle.split(rule["separator"]) if "separator" in rule else []
        holds = {
            "starts": lambda: True,
            "ends": lambda: True,
            "count": lambda: len(words) == rule["count"],
            "among": lambda: all(word.lower() in rule["words"] for word in words),
            "uppercase": lambda: middle == middle.upper(),
            "lowercase": lambda: middle == middle.lower(),
        }[rule["rule"]]
        if not holds():
            return False
    return True


def judge(answers, items):
    checks = [item["check"] for item in items]
    if checks[0]["kind"] == "javascript":
        jobs = [dict(code=a, entry=c["entry"], tests=c["tests"]) for a, c in zip(answers, checks)]
        node = ["node", "-e", JUDGE]
        judged = subprocess.run(node, input=json.dumps(jobs), capture_output=True, text=True, check=True)
        return json.loads(judged.stdout)
    if checks[0]["kind"] == "number":
        return [a.rpartition("####")[2].strip() == str(c["target"]) for a, c in zip(answers, checks)]
    if checks[0]["kind"] == "exact":
        return [a.strip() == c["target"] for a, c in zip(answers, checks)]
    return [follows(a.strip(), c["rules"]) for a, c in zip(answers, checks)]


def evaluate(model, tokenizer, data, limit):
    """Per cent right of each task, multiple choice and generative."""
    choice, generative = {}, {}
    for file in sorted(os.listdir(f"{data}/tasks")):
        name = file.removesuffix(".jsonl")
        items = read_lines(f"{data}/tasks/{file}")[:limit]
        if "choices" in items[0]:
            right = score_choices(model, tokenizer, items)
            choice[name] = 100 * sum(right) / len(right)
        else:
            right = judge(generate(model, tokenizer, [item["prompt"] for item in items]), items)
            generative[name] = 100 * sum(right) / len(right)
    return choice, generative


def calibration(tokenizer, data):
    """SAMPLES rows of SAMPLE_LENGTH tokens, an equal share of each domain, an end-of-text token after each text."""
    rows = []
    for number, domain in enumerate(DOMAINS):
        count = SAMPLES * (number + 1) // len(DOMAINS) - SAMPLES * number // len(DOMAINS)
        ids = []
        for line in read_lines(f"{data}/calibration/{domain}.jsonl"):
            ids += tokenizer.encode(line["text"]) + [0]
        rows += [ids[i * SAMPLE_LENGTH : (i + 1) * SAMPLE_LENGTH] for i in range(count)]
    return torch.tensor(rows)


@torch.no_grad()
def measure(model, layer, tokens):
    """Sums over the tokens that each expert of the layer gets, over all calibration tokens."""
    block = model.model.layers[layer].mlp
    experts = block.gate.weight.shape[0]
    sums = {name: torch.zeros(experts, dtype=torch.float64) for name in ("count", "weight", "weighted", "energy")}

    def collect(_, inputs):
        hidden = inputs[0].reshape(-1, inputs[0].shape[-1])
        _, weight, chosen = block.gate(hidden)
        for e in range(experts):
            token, place = torch.where(chosen == e)
            gate, up = F.linear(hidden[token], block.experts.gate_up_proj[e]).chunk(2, -1)
            norm = F.linear(F.silu(gate) * up, block.experts.down_proj[e]).norm(dim=-1)
            weighted = weight[token, place] * norm
            sums["count"][e] += len(token)
            sums["weight"][e] += weight[token, place].sum()
            sums["weighted"][e] += weighted.sum()
            sums["energy"][e] += weighted.square().sum()

    handle = block.register_forward_pre_hook(collect)
    for batch in tokens.split(BATCH_TOKENS // SAMPLE_LENGTH):
        model(batch, use_cache=False)
    handle.remove()
    return sums


CRITERIA = {
    "reap": lambda sums: sums["weighted"] / sums["count"].clamp(min=1),
    "frequency": lambda sums: sums["count"],
    "energy": lambda sums: sums["energy"],
}


def prune(model, tokens, kept, criterion):
    """Keeps the most salient experts, layer after layer: each layer is judged on the pruned layers before it."""
    model = copy.deepcopy(model)
    for layer in range(len(model.model.layers)):
        block = model.model.layers[layer].mlp
        saliency = CRITERIA[criterion](measure(model, layer, tokens))
        keep = saliency.sort(descending=True, stable=True).indices[:kept].sort().values
        block.gate.weight.data = block.gate.weight.data[keep]
        for name in ("gate_up_proj", "down_proj"):
            getattr(block.experts, name).data = getattr(block.experts, name).data[keep]
        block.gate.num_experts = block.experts.num_experts = kept
    return model


def show(name, choice, generative):
    for kind, scores in (("MC", choice), ("GEN", generative)):
        listed = ", ".join(f"{task} {score:.1f}" for task, score in scores.items())
        print(f"{name}: {kind} {sum(scores.values()) / len(scores):.1f} ({listed})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--data", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "data"))
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--prune", type=int, default=0, help="number of experts to keep")
    parser.add_argument("--by", nargs="+", choices=list(CRITERIA), default=["reap", "frequency"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    show("original", *evaluate(model, tokenizer, args.data, args.items))
    if args.prune:
        tokens = calibration(tokenizer, args.data)
        loads = [measure(model, layer, tokens)["count"] for layer in range(len(model.model.layers))]
        ratios = [f"{load.max() / load.min().clamp(min=1):.1f}" for load in loads]
        print(f"busiest / idlest expert: {', '.join(ratios)}", flush=True)
        for criterion in args.by:
            pruned = prune(model, tokens, args.prune, criterion)
            show(f"{criterion} {args.prune}", *evaluate(pruned, tokenizer, args.data, args.items))


if __name__ == "__main__":
    main()
