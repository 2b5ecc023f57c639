"""Muon (Jordan 2024): momentum whose matrices are made orthogonal."""

import torch


class Muon:
    """For parameters that are matrices or stacks of them; gate and up of an expert are orthogonalised together."""

    def __init__(self, parameters, rate, decay=0.01):
        self.parameters, self.rate, self.decay = parameters, rate, decay
        self.momentum = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, scale):
        """One step at `scale` times the rate; forgets the gradients."""
        rate = self.rate * scale
        for parameter, momentum in zip(self.parameters, self.momentum):
            momentum.lerp_(parameter.grad, 0.05)
            update = orthogonalise(parameter.grad.lerp(momentum, 0.95))
            shape = max(1, parameter.shape[-2] / parameter.shape[-1]) ** 0.5
            parameter.mul_(1 - self.decay * rate).add_(update, alpha=-rate * shape)
            parameter.grad = None


def orthogonalise(gradient, steps=5):
    """Newton-Schulz orthogonalisation of each matrix of a stack."""
    x = gradient / (gradient.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.mT
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if flip else x
