import type { Activation } from "../backend.js";
import { ACTIVATIONS } from "./elementwise.js";

/** Derivatives of what an activation makes of a gate and an up value, by both. */
export interface Slopes {
  readonly gate: number;
  readonly up: number;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** A step of a central difference: its error is that of its square, and of rounding over it. */
const STEP = 1e-5;

/**
 * The derivatives at a gate and an up value. Those of functions of the gate times up are taken by a central difference of
 * the function in float64: the reference shall not have the formulas of the kernels. At the bound of a clamped value it is 0.
 */
export function slopesOf(activation: Activation, gate: number, up: number): Slopes {
  if (typeof activation === "string") {
    const f = ACTIVATIONS[activation];
    const slope = activation === "relu" ? (gate > 0 ? 1 : 0) : (f(gate + STEP) - f(gate - STEP)) / (2 * STEP);
    return { gate: slope * up, up: f(gate) };
  }
  const { limit } = activation;
  const u = Math.max(-limit, Math.min(up, limit));
  if (activation.kind === "clamped_swiglu") {
    const f = (g: number) => g * sigmoid(activation.alpha * g);
    const slope = gate < limit ? (f(gate + STEP) - f(gate - STEP)) / (2 * STEP) : 0;
    return { gate: (u + 1) * slope, up: Math.abs(up) < limit ? f(Math.min(gate, limit)) : 0 };
  }
  const g = ACTIVATIONS.silu(gate);
  const slope = g < limit ? (ACTIVATIONS.silu(gate + STEP) - ACTIVATIONS.silu(gate - STEP)) / (2 * STEP) : 0;
  return { gate: slope * u, up: Math.abs(up) < limit ? Math.min(g, limit) : 0 };
}
