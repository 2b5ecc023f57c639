"""What transformers' JetMoE does with the experts of its attention.

    attention_experts.py MODEL TOKENS

TOKENS has `input_ids` [sequences, length]. Prints a JSON list with an object for each layer: `saliency`, the mean over an
expert's tokens of gate x ||output||, and `cosines`, those of the columns of the router's logits over all tokens.
"""
import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
found = [{} for _ in model.model.layers]
for seen, layer in zip(found, model.model.layers):
    experts = layer.self_attention.experts
    experts.router.register_forward_hook(lambda _, __, output, seen=seen: seen.update(
        gates=output[2], sizes=output[3], logits=output[4]))
    experts.output_linear.register_forward_hook(lambda _, __, output, seen=seen: seen.update(outputs=output))
with torch.no_grad():
    model(load_file(sys.argv[2])["input_ids"].long())
result = []
for seen in found:
    contributions = (seen["gates"].double() * seen["outputs"].double().norm(dim=-1)).split(seen["sizes"])
    logits = seen["logits"].double()
    unit = logits / logits.norm(dim=0)
    result.append({"saliency": [float(part.mean()) for part in contributions], "cosines": (unit.T @ unit).tolist()})
print(json.dumps(result))
