"""Trains a demo model: a small Mixture of Experts on the demo world, saved as a Hugging Face checkpoint.

    python train.py WORLD OUT --steps 2250 --balance 0.005
    python train.py WORLD OUT --family glm4_moe --balance 0.0001 --steps 700 --precision float32

WORLD is what build-world wrote; OUT receives config.json, model.safetensors (bfloat16), tokenizer.json and
tokenizer_config.json in the layout of real checkpoints of the family. The schedule counts steps, not time, so a run
that was stopped goes on with --resume to the same end. Needs torch, numpy, tokenizers and safetensors.
Nearly twice as fast with an allocator that keeps freed memory: LD_PRELOAD=libtcmalloc_minimal.so.4.
"""

import argparse
import json
import os
import time

# A product of every size that occurs is compiled once; the default capacity is too small to keep them all.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100000")
# Threads that wait must sleep: spinning ones stop all progress when other programs need the cores too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F

from training.families import FAMILIES
from training.model import Model
from training.muon import Muon
from training.tokens import prepare

# What may not change when a run goes on.
SETTINGS = ("family", "seed", "steps", "batch", "length", "lr", "muon_lr", "balance", "bias_rate", "set")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("world")
    parser.add_argument("out")
    parser.add_argument("--family", choices=list(FAMILIES), default="qwen3_moe")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, and where in the text it begins")
    parser.add_argument("--steps", type=int, default=2250)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--balance", type=float, default=0.005, help="coefficient of the load-balancing loss")
    parser.add_argument("--bias-rate", type=float, default=0.005, help="step of the correction bias, where there is one")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of products")
    parser.add_argument("--tokenizer", help="a tokenizer.json to take in place of training one")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=NUMBER", help="other sizes in config.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt, where there is one")
    return parser.parse_args()


def main():
    args = arguments()
    os.makedirs(args.out, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    sizes = {key: int(value) for key, value in (entry.split("=") for entry in args.set)}
    config, dtype = {**FAMILIES[args.family], **sizes}, getattr(torch, args.precision)
    data = prepare(args.world, args.out, config["vocab_size"], args.tokenizer)
    model = Model(config, dtype)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(data) / 1e6:.1f} M tokens, {parameters / 1e6:.2f} M parameters", flush=True)
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        by_muon = parameter.ndim >= 2 and "embed" not in name and "gate" not in name
        (matrices if by_muon else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0)
    muon = Muon(matrices, args.muon_lr)
    step, average, seconds = 0, None, 0.0
    if args.resume and os.path.exists(f"{args.out}/state.pt"):
        step, average, seconds = load_state(args, model, adam, muon)

    size = args.batch * args.length
    chunks = (len(data) - 1) // size
    while step < args.steps:
        begin = time.time()
        done = step / args.steps
        rate = min(1, (step + 1) / 50) * (1 if done < 0.4 else max(0.02, (1 - done) / 0.6))
        position = (step + 1009 * args.seed) % chunks * size
        chunk = data[position : position + size + 1].long()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits, balance = model(chunk[:-1].view(args.batch, args.length))
        loss = F.cross_entropy(logits.float().view(-1, logits.shape[-1]), chunk[1:])
        (loss + args.balance * balance).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = args.lr * rate
        adam.step()
        adam.zero_grad(set_to_none=True)
        muon.step(rate)
        for block in model.blocks():
            block.correct(args.bias_rate * rate)
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        seconds += time.time() - begin
        step += 1
        if step % 50 == 0 or step == args.steps:
            load = max(block.load.max().item() * block.count for block in model.blocks())
            print(
                f"step {step} loss {average:.4f} balance {balance.item():.3f} busiest {load:.2f} "
                f"{step * size / seconds:.0f} tok/s",
                flush=True,
            )
            save(model, args.out)
            save_state(args, model, adam, muon, step, average, seconds)


def save(model, out):
    from safetensors.torch import save_file

    save_file(model.checkpoint(), f"{out}/model.safetensors", metadata={"format": "pt"})
    for name, value in (("config", model.config), ("generation_config", dict(eos_token_id=1, pad_token_id=0))):
        with open(f"{out}/{name}.json", "w") as file:
            json.dump(value, file, indent=2)


def settings(args):
    return {name: getattr(args, name) for name in SETTINGS}


def save_state(args, model, adam, muon, step, average, seconds):
    state = dict(
        model=model.state_dict(),
        adam=adam.state_dict(),
        momentum=muon.momentum,
        progress=(step, average, seconds),
        settings=settings(args),
    )
    torch.save(state, f"{args.out}/state.pt.new")
    os.replace(f"{args.out}/state.pt.new", f"{args.out}/state.pt")


def load_state(args, model, adam, muon):
    """Puts the state back; number of steps done, average loss and seconds so far."""
    state = torch.load(f"{args.out}/state.pt")
    if state["settings"] != settings(args):
        raise SystemExit(f"{args.out}/state.pt was written with other settings: {state['settings']}")
    model.load_state_dict(state["model"])
    adam.load_state_dict(state["adam"])
    muon.momentum = state["momentum"]
    return state["progress"]


if __name__ == "__main__":
    main()
