//! The experts that a router chooses for each token, and their weights.

use crate::dispatch::multiversion;
use crate::memory::Disjoint;
use crate::product::Context;

/// Numbers that a task looks at least, so that handing it out costs little.
const GRAIN: usize = 1 << 14;
/// Numbers that are looked at together: most of them are none of the best.
const GROUP: usize = 16;

/// How experts are chosen by numbers `[tokens, experts]`, and weighed by scores of the same shape.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    /// Experts of the router.
    pub experts: usize,
    /// Experts of a token, at most `experts`.
    pub top_k: usize,
    /// Added to the numbers: `[experts]`.
    pub bias: Option<&'a [f32]>,
    /// Consecutive groups of equally many experts, of which each token uses the best.
    pub groups: Option<Groups>,
    /// Whether the weights are divided by their sum plus `epsilon`, which is at least `floor`.
    pub normalise: bool,
    /// See `normalise`.
    pub epsilon: f64,
    /// See `normalise`.
    pub floor: f64,
    /// Factor on the weights.
    pub scale: f64,
}

/// Groups that experts are chosen from.
#[derive(Clone, Copy)]
pub struct Groups {
    /// Number of groups.
    pub count: usize,
    /// Groups that a token uses.
    pub kept: usize,
    /// Groups are ranked by the sum of so many of their best numbers.
    pub best: usize,
}

/// Writes the experts of each token in ascending order, and their weights, both `[tokens, top_k]`. Of equal numbers the one
/// with the lower index is chosen.
pub fn choose_experts(
    context: &Context,
    numbers: &[f32],
    scores: &[f32],
    rule: &Rule,
    selected: &mut [i32],
    weights: &mut [f32],
) {
    let Rule { experts, top_k, .. } = *rule;
    let (selected, weights) = (Disjoint::new(selected), Disjoint::new(weights));
    let size = GRAIN.div_ceil(experts.max(1));
    let tokens = numbers.len() / experts.max(1);
    context.threads.run(tokens.div_ceil(size), Scratch::default, |scratch, piece| {
        for token in piece * size..tokens.min((piece + 1) * size) {
            let row = token * experts..(token + 1) * experts;
            // SAFETY: each token belongs to one task.
            let selected = unsafe { selected.range(token * top_k, top_k) };
            // SAFETY: as above.
            let weights = unsafe { weights.range(token * top_k, top_k) };
            choose(context.cpu, &numbers[row.clone()], rule, scratch);
            selected.iter_mut().zip(&scratch.chosen).for_each(|(to, expert)| *to = expert.cast_signed());
            weigh(&scores[row], rule, &scratch.chosen, weights);
        }
    });
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    /// What experts and groups are ranked by.
    numbers: Vec<f32>,
    ranks: Vec<f64>,
    /// The best of them.
    chosen: Vec<u32>,
    groups: Vec<u32>,
}

multiversion! {
    /// Leaves the experts of a token in the scratch.
    fn choose(numbers: &[f32], rule: &Rule, scratch: &mut Scratch) = choose_body;
}

#[inline(always)]
fn choose_body(numbers: &[f32], rule: &Rule, scratch: &mut Scratch) {
    let Scratch { numbers: own, ranks, chosen, groups } = scratch;
    own.clear();
    own.extend_from_slice(numbers);
    if let Some(bias) = rule.bias {
        own.iter_mut().zip(bias).for_each(|(number, bias)| *number += bias);
    }
    if let Some(rule) = rule.groups {
        leave_other_groups(own, rule, ranks, groups);
    }
    chosen.resize(rule.top_k, 0);
    best(own, chosen);
    chosen.sort_unstable();
}

/// Makes the experts of all groups but the best unelectable.
#[inline(always)]
fn leave_other_groups(numbers: &mut [f32], rule: Groups, ranks: &mut Vec<f64>, kept: &mut Vec<u32>) {
    let size = numbers.len() / rule.count;
    ranks.clear();
    ranks.extend(numbers.chunks_exact(size).map(|members| {
        let mut chosen = [0; 2];
        let chosen = &mut chosen[..rule.best];
        best(members, chosen);
        chosen.iter().map(|&member| f64::from(members[member as usize])).sum::<f64>()
    }));
    kept.resize(rule.kept, 0);
    best(ranks, kept);
    for (group, members) in numbers.chunks_exact_mut(size).enumerate() {
        if kept.iter().all(|&kept| kept as usize != group) {
            members.fill(f32::NEG_INFINITY);
        }
    }
}

/// Fills `indices` with those of the largest numbers, the largest first; of equal ones the lower index.
#[inline(always)]
fn best<T: PartialOrd + Copy>(numbers: &[T], indices: &mut [u32]) {
    let count = indices.len();
    let mut filled = 0;
    for (group, members) in numbers.chunks(GROUP).enumerate() {
        if filled == count {
            let Some(&last) = indices.last() else { return };
            let least = numbers[last as usize];
            // A sum, which is done for several numbers at once, unlike a search that ends at the first.
            if members.iter().map(|&number| u32::from(number > least)).sum::<u32>() == 0 {
                continue;
            }
        }
        // Insertion into the best so far keeps equal numbers in the order of their indices.
        for (i, &number) in (group * GROUP..).zip(members) {
            let chosen = filled < count || number > numbers[indices[count - 1] as usize];
            if !chosen {
                continue;
            }
            let mut place = if filled < count { filled } else { count - 1 };
            filled = count.min(filled + 1);
            while place > 0 && number > numbers[indices[place - 1] as usize] {
                indices[place] = indices[place - 1];
                place -= 1;
            }
            indices[place] = i as u32;
        }
    }
}

/// The weights of a token's experts: their scores, normalised and scaled.
fn weigh(scores: &[f32], rule: &Rule, chosen: &[u32], weights: &mut [f32]) {
    let score = |&expert: &u32| f64::from(scores[expert as usize]);
    let sum = chosen.iter().map(score).fold(rule.epsilon, |sum, score| sum + score);
    let divisor = if rule.normalise { sum.max(rule.floor) } else { 1.0 };
    for (weight, expert) in weights.iter_mut().zip(chosen) {
        *weight = (score(expert) / divisor * rule.scale) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_best_are_those_of_a_stable_sort() {
        let mut state = 1_u32;
        for round in 0..500 {
            let numbers: Vec<f32> = (0..=round % 90)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Few different numbers, so that many are equal.
                    (state >> 28) as f32
                })
                .collect();
            let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
            order.sort_by(|&a, &b| numbers[b as usize].total_cmp(&numbers[a as usize]));
            for count in [0, 1, 2, 8, numbers.len()] {
                let mut chosen = vec![0; count.min(numbers.len())];
                best(&numbers, &mut chosen);
                assert_eq!(chosen, order[..chosen.len()]);
            }
        }
    }
}
