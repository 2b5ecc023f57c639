"""Says where a forward pass first leaves what a golden expects.

    ream forward GOLDEN --ids GOLDEN/expected.safetensors --precision f32 --out OURS.safetensors
    compare_forward.py GOLDEN OURS.safetensors

Prints the largest difference of each recorded tensor, in the order of the computation.
"""
import re
import sys

from safetensors.torch import load_file

ORDER = ["input", "router_logits", "selected", "weights", "output", "hidden"]


def place(name):
    """Layers in order, within a layer the block before its output; logits last."""
    found = re.fullmatch(r"(?:moe\.(\d+)\.(\w+)|hidden\.(\d+))", name)
    if found is None:
        return (float("inf"), 0)
    return (int(found[1] or found[3]), ORDER.index(found[2] or "hidden"))


golden, ours = (load_file(path) for path in (f"{sys.argv[1]}/expected.safetensors", sys.argv[2]))
for name in sorted((name for name in golden if not name.startswith("input_ids")), key=place):
    difference = (golden[name].double() - ours[name].reshape(golden[name].shape).double()).abs().max()
    print(f"{name:24} {float(difference):.2e}")
