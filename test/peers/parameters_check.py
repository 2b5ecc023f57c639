"""Counts the parameters of models in transformers.

    parameters_check.py MODEL ...

Prints a JSON list with an object for each: `parameters`, what `num_parameters` and the buffers that checkpoints hold come to,
and `active`, those that one token passes: all but the experts whose weights its logits have no gradient of.
"""
import json
import sys

import torch
from transformers import AutoConfig

from auto_model import auto_class, text_logits

torch.set_num_threads(1)


def count(path):
    config = AutoConfig.from_pretrained(path)
    model = auto_class(config.model_type).from_pretrained(path, dtype=torch.float32, attn_implementation="eager").train()
    saved = set(model.state_dict())
    total = model.num_parameters() + sum(buffer.numel() for name, buffer in model.named_buffers() if name in saved)
    text_logits(model, torch.tensor([[7]])).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    idle = 0
    for name, gradient in gradients.items():
        of_experts = gradient.ndim == 3 if config.model_type == "jetmoe" else ".experts." in name
        if of_experts:
            # One token attends to itself whatever its queries are: JetMoE's are used where the outputs of the same expert are.
            gradient = gradients[name.replace("self_attention.experts.input_linear", "self_attention.experts.output_linear")]
            experts = gradient.reshape(gradient.shape[0], -1)
            idle += int((experts == 0).all(dim=1).sum()) * experts.shape[1]
    return {"parameters": total, "active": total - idle}


print(json.dumps([count(path) for path in sys.argv[1:]]))
