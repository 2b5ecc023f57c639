//! Native core of ream: the operations of a Mixture-of-Experts layer and the statistics of its compression, on the CPU.
//!
//! Kernels only: no policy, no input or output. `bindings` is the border to JavaScript; everything below it is plain
//! Rust. `docs/engine.md` tells the layouts and the reasons.

mod adam;
#[cfg(target_arch = "x86_64")]
mod amx;
mod assignment;
mod attention;
#[cfg(target_arch = "aarch64")]
mod bfmmla;
pub mod bindings;
mod cache;
mod cached_attention;
mod choose_experts;
mod codecs;
mod convolution;
mod delta_rule;
mod dispatch;
mod elementwise;
mod expand;
mod expert_gradients;
mod experts;
mod factor;
mod gated_product;
mod gptq;
mod gram;
mod layouts;
mod linear_attention;
mod math;
mod memory;
mod packed;
mod pages;
mod peak;
mod picked;
mod picked_product;
mod product;
mod quantise;
mod recurrent;
mod rounding;
mod rounding_floats;
mod smallest;
mod softmax;
mod solve;
mod sparsegpt;
mod sums;
mod team;
mod threads;
mod tile;
mod vector;
mod weight_panel;
