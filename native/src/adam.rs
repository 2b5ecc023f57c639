//! Steps of Adam (Kingma & Ba 2015).

use crate::dispatch::multiversion;
use crate::memory::Disjoint;
use crate::product::Context;

/// Share of the mean of gradients that a step keeps.
const FIRST_DECAY: f32 = 0.9;
/// Share of the mean of their squares: steps are few, so that it must soon be right.
const SECOND_DECAY: f32 = 0.99;
/// Keeps 0 / 0 from being asked for. No gradient that matters is this small, whatever the scale of the outputs.
const TINY: f32 = 1e-30;
/// Numbers of a task.
const PIECE: usize = 1 << 14;

/// What a step knows of the steps before: the means of gradients and of their squares, like the weights.
pub struct Moments<'a> {
    /// Of gradients.
    pub first: &'a mut [f32],
    /// Of squared gradients.
    pub second: &'a mut [f32],
}

/// Step number `step`, counted from 1: changes the weights of several experts, each with the step size of its own.
pub fn adam_step(
    context: &Context,
    weights: &mut [f32],
    gradients: &[f32],
    moments: &mut Moments,
    sizes: &[f32],
    step: u32,
) {
    let own = weights.len() / sizes.len().max(1);
    let bias = |decay: f32| (1.0 - f64::from(decay).powf(f64::from(step))) as f32;
    let (first_bias, second_bias) = (bias(FIRST_DECAY), bias(SECOND_DECAY));
    let weights = Disjoint::new(weights);
    let (first, second) = (Disjoint::new(moments.first), Disjoint::new(moments.second));
    let pieces = own.div_ceil(PIECE);
    context.threads.run(
        sizes.len() * pieces,
        || (),
        |(), task| {
            let (expert, piece) = (task / pieces, task % pieces);
            let start = expert * own + piece * PIECE;
            let length = PIECE.min(own - piece * PIECE);
            // SAFETY: pieces are disjoint.
            let weights = unsafe { weights.range(start, length) };
            // SAFETY: as above.
            let first = unsafe { first.range(start, length) };
            // SAFETY: as above.
            let second = unsafe { second.range(start, length) };
            let gradients = &gradients[start..start + length];
            change(context.cpu, weights, gradients, first, second, sizes[expert] / first_bias, 1.0 / second_bias);
        },
    );
}

multiversion! {
    fn change(
        weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32], size: f32, second_factor: f32,
    ) = change_body;
}

#[inline(always)]
fn change_body(
    weights: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    size: f32,
    second_factor: f32,
) {
    for (((weight, gradient), first), second) in weights.iter_mut().zip(gradients).zip(first).zip(second) {
        *first = FIRST_DECAY * *first + (1.0 - FIRST_DECAY) * gradient;
        *second = SECOND_DECAY * *second + (1.0 - SECOND_DECAY) * gradient * gradient;
        *weight -= size * *first / ((*second * second_factor).sqrt() + TINY);
    }
}
