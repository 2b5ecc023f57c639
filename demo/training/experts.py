"""The sum of each token's experts, forward and backward."""

import torch
import torch.nn.functional as F

# Experts receive their tokens in multiples of this, so that few sizes of products occur and each is compiled once.
TOKEN_MULTIPLE = 64


class Experts(torch.autograd.Function):
    """Weighted sum of each token's experts. Products in `dtype`, weights and sums in float32.

    Written by hand because the general way (one small graph for each expert) spends most of its time on compiling
    products of ever new sizes and on copying weights. Pairs of token and expert are laid out expert by expert in
    "slots"; each expert's slots are rounded up with pairs of weight 0, which change neither output nor gradients.
    """

    @staticmethod
    def forward(ctx, x, weight, chosen, w13, w2, dtype):
        tokens, top = chosen.shape
        experts = w13.shape[0]
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=experts)
        rounded = (counts + TOKEN_MULTIPLE - 1) // TOKEN_MULTIPLE * TOKEN_MULTIPLE
        shift = (rounded.cumsum(0) - rounded) - (counts.cumsum(0) - counts)
        filled = torch.arange(tokens * top) + shift.repeat_interleave(counts)
        ends = rounded.cumsum(0).tolist()
        spans = [slice(begin, end) for begin, end in zip([0] + ends, ends)]

        token_of_slot = torch.zeros(ends[-1], dtype=torch.long)
        token_of_slot[filled] = order // top
        weight_of_slot = torch.zeros(ends[-1])
        weight_of_slot[filled] = weight.flatten()[order]
        slot_of_pair = torch.empty(tokens * top, dtype=torch.long)
        slot_of_pair[order] = filled
        slot_of_pair = slot_of_pair.view(tokens, top)

        w13, w2 = w13.to(dtype), w2.to(dtype)
        inputs = x.to(dtype)[token_of_slot]
        gate_up = torch.empty(ends[-1], w13.shape[1], dtype=dtype)
        for e, span in enumerate(spans):
            torch.mm(inputs[span], w13[e].t(), out=gate_up[span])
        gate, up = gate_up.chunk(2, -1)
        hidden = F.silu(gate) * up
        outputs = torch.empty_like(inputs)
        for e, span in enumerate(spans):
            torch.mm(hidden[span], w2[e].t(), out=outputs[span])
        ctx.spans = spans
        ctx.save_for_backward(inputs, gate_up, hidden, weight_of_slot, token_of_slot, slot_of_pair, w13, w2)
        return F.embedding_bag(slot_of_pair, outputs.float(), mode="sum", per_sample_weights=weight)

    @staticmethod
    def backward(ctx, grad):
        inputs, gate_up, hidden, weight_of_slot, token_of_slot, slot_of_pair, w13, w2 = ctx.saved_tensors
        weights = weight_of_slot.to(hidden.dtype).unsqueeze(-1)
        grad_slots = grad.to(hidden.dtype)[token_of_slot]
        weighted_hidden = hidden * weights
        grad_hidden, grad_w2, grad_w13 = torch.empty_like(hidden), torch.empty_like(w2), torch.empty_like(w13)
        for e, span in enumerate(ctx.spans):
            torch.mm(grad_slots[span], w2[e], out=grad_hidden[span])
            torch.mm(grad_slots[span].t(), weighted_hidden[span], out=grad_w2[e])
        # <grad, E(x)> = <grad W2, h>, which needs no expert output.
        grad_weight = (grad_hidden * hidden).sum(-1, dtype=torch.float32)[slot_of_pair]
        grad_hidden *= weights
        gate, up = gate_up.chunk(2, -1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, -1)
        torch.mul(grad_hidden, F.silu(gate), out=grad_up)
        grad_gate.copy_(torch.ops.aten.silu_backward(grad_hidden * up, gate))
        grad_inputs = torch.empty_like(inputs)
        for e, span in enumerate(ctx.spans):
            torch.mm(grad_gate_up[span], w13[e], out=grad_inputs[span])
            torch.mm(grad_gate_up[span].t(), inputs[span], out=grad_w13[e])
        grad_x = F.embedding_bag(slot_of_pair, grad_inputs.float(), mode="sum")
        return grad_x, grad_weight, None, grad_w13.float(), grad_w2.float(), None
