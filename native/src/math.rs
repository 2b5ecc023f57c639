//! Elementary functions without branches, so that loops over them vectorise. All keep NaN.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// 2 √(2/π), of the GELU with a hyperbolic tangent.
const SQRT_8_OVER_PI: f32 = 1.595_769;
/// Factor of the cube in it.
const GELU_CUBIC: f32 = 0.044_715;

/// e^x to about 1e-7 relative; 0 where the result would be subnormal, infinity above the range.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7 (error 3e-9), 2^n by the exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.336_54; // ln of the smallest normal number
    const HIGHEST: f32 = 88.722_83; // ln of the largest number
    const LN_2_HIGH: f32 = 0.693_359_4; // 9 bits of ln 2: n * LN_2_HIGH is exact
    const LN_2_LOW: f32 = -2.121_944_4e-4; // ln 2 - LN_2_HIGH
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low bits
    let clamped = x.clamp(LOWEST, HIGHEST);
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // n reaches 128, one more than the exponent of a power of two can be: two factors.
    let bits = shifted.to_bits();
    let half = (bits.cast_signed() - ROUND.to_bits().cast_signed()) >> 1;
    let rest = bits.cast_signed() - ROUND.to_bits().cast_signed() - half;
    let power = |n: i32| f32::from_bits(((n + 127) << 23).cast_unsigned());
    let y = p * power(half) * power(rest);
    let y = if x < LOWEST { 0.0 } else { y };
    if x > HIGHEST { f32::INFINITY } else { y }
}

/// What a gated linear unit makes of a gate and an up value. Unless said otherwise: f(gate) * up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// x / (1 + e^-x)
    Silu,
    /// x Φ(x), Φ the normal distribution
    Gelu,
    /// x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³))), Hendrycks & Gimpel 2016
    GeluTanh,
    /// σ(x)
    Sigmoid,
    /// max(x, 0)
    Relu,
    /// See `clamped_swiglu`.
    ClampedSwiglu {
        /// Factor inside the sigmoid.
        alpha: f32,
        /// Bound of both values, not negative.
        limit: f32,
    },
    /// See `clamped_silu`.
    ClampedSilu {
        /// Bound of what the function makes of gates, and of up values; not negative.
        limit: f32,
    },
}

impl Activation {
    /// The activation of this name, if it is one without numbers.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "silu" => Some(Self::Silu),
            "gelu" => Some(Self::Gelu),
            "gelu_tanh" => Some(Self::GeluTanh),
            "sigmoid" => Some(Self::Sigmoid),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }
}

/// Derivatives of what an activation makes of a gate and an up value, by both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slopes {
    /// By the gate.
    pub gate: f32,
    /// By the up value.
    pub up: f32,
}

impl Activation {
    /// The derivatives at a gate and an up value. At the bound of a clamped value its derivative is 0.
    #[inline(always)]
    pub fn slopes(self, gate: f32, up: f32) -> Slopes {
        // A function f of the gate times up.
        let times_up = |f: f32, slope: f32| Slopes { gate: slope * up, up: f };
        match self {
            Self::Silu => {
                let s = sigmoid(gate);
                times_up(gate * s, s * (1.0 + gate * (1.0 - s)))
            }
            Self::Gelu => {
                const FRAC_1_SQRT_2_PI: f32 = 0.398_942_3;
                let z = gate.abs() * FRAC_1_SQRT_2;
                let upper = 0.5 * erfc(z);
                let below = if gate < 0.0 { upper } else { 1.0 - upper };
                times_up(gate * below, below + gate * FRAC_1_SQRT_2_PI * exp(-0.5 * gate * gate))
            }
            Self::GeluTanh => {
                let s = sigmoid(SQRT_8_OVER_PI * (gate + GELU_CUBIC * gate * gate * gate));
                let inner = SQRT_8_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * gate * gate);
                times_up(gate * s, s + gate * s * (1.0 - s) * inner)
            }
            Self::Sigmoid => {
                let s = sigmoid(gate);
                times_up(s, s * (1.0 - s))
            }
            Self::Relu => times_up(relu(gate), if gate > 0.0 { 1.0 } else { 0.0 }),
            Self::ClampedSwiglu { alpha, limit } => {
                let g = if gate > limit { limit } else { gate };
                let u = up.clamp(-limit, limit);
                let s = sigmoid(alpha * g);
                Slopes {
                    gate: if gate < limit { (u + 1.0) * s * (1.0 + alpha * g * (1.0 - s)) } else { 0.0 },
                    up: if up.abs() < limit { g * s } else { 0.0 },
                }
            }
            Self::ClampedSilu { limit } => {
                let s = sigmoid(gate);
                let g = gate * s;
                let u = up.clamp(-limit, limit);
                let bounded = if g > limit { limit } else { g };
                Slopes {
                    gate: if g < limit { s * (1.0 + gate * (1.0 - s)) * u } else { 0.0 },
                    up: if up.abs() < limit { bounded } else { 0.0 },
                }
            }
        }
    }
}

/// σ(x)
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// max(x, 0), NaN of NaN.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// (u + 1) g σ(alpha g) for g = min(gate, limit) and u = up clamped to -limit..limit (gpt-oss).
#[inline(always)]
pub fn clamped_swiglu(gate: f32, up: f32, alpha: f32, limit: f32) -> f32 {
    // `min` would replace NaN by the limit.
    let g = if gate > limit { limit } else { gate };
    let u = up.clamp(-limit, limit);
    (u + 1.0) * g / (1.0 + exp(-alpha * g))
}

/// min(silu(gate), limit) u for u = up clamped to -limit..limit (Step 3.5).
#[inline(always)]
pub fn clamped_silu(gate: f32, up: f32, limit: f32) -> f32 {
    let g = silu(gate);
    // `min` would replace NaN by the limit.
    (if g > limit { limit } else { g }) * up.clamp(-limit, limit)
}

/// x σ(x)
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// 1/2 x (1 + tanh u) = x σ(2u)
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    x / (1.0 + exp(-SQRT_8_OVER_PI * (x + GELU_CUBIC * x * x * x)))
}

/// x Φ(x) = x erfc(-x / √2) / 2
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let z = x.abs() * FRAC_1_SQRT_2;
    let upper = 0.5 * erfc(z); // 1 - Φ(|x|)
    x * if x < 0.0 { upper } else { 1.0 - upper }
}

/// erfc(z) for z >= 0 to a relative 1.2e-7 and rounding (Numerical Recipes, `erfcc`: Chebyshev fit of its logarithm).
#[inline(always)]
fn erfc(z: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * z);
    let p = 0.170_872_77;
    let p = p * t - 0.822_152_23;
    let p = p * t + 1.488_515_9;
    let p = p * t - 1.135_204;
    let p = p * t + 0.278_868_07;
    let p = p * t - 0.186_288_06;
    let p = p * t + 0.096_784_18;
    let p = p * t + 0.374_091_96;
    let p = p * t + 1.000_023_7;
    let p = p * t - 1.265_512_2;
    t * exp(p - z * z)
}

/// bfloat16 bits of x, rounded to nearest even. NaN stays NaN.
#[inline(always)]
pub fn to_bfloat16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // Adding to a NaN could carry into its sign, so NaN keeps its bits and only loses the low ones.
    ((if x.is_nan() { bits | 0x0040_0000 } else { rounded }) >> 16) as u16
}

/// The number with these bfloat16 bits.
#[inline(always)]
pub fn from_bfloat16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::{clamped_silu, clamped_swiglu, exp, from_bfloat16, gelu, gelu_tanh, sigmoid, silu, to_bfloat16};

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let error = |x: f32| {
            let wanted = exact(f64::from(x));
            (f64::from(f(x)) - wanted).abs() / wanted.abs().max(1e-30)
        };
        (0..=u16::MAX).map(|i| low + (high - low) * f32::from(i) / 65535.0).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_accurate_and_ends_in_zero_and_infinity() {
        assert!(worst(exp, f64::exp, -87.0, 88.7) < 3e-7);
        assert!((exp(-88.0), exp(f32::NEG_INFINITY), exp(89.0), exp(0.0)) == (0.0, 0.0, f32::INFINITY, 1.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn activations_are_accurate() {
        assert!(worst(silu, |x| x / (1.0 + (-x).exp()), -40.0, 40.0) < 5e-7);
        let tanh = |x: f64| x / (1.0 + (-(8.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp());
        assert!(worst(gelu_tanh, tanh, -4.0, 8.0) < 3e-6);
        // Φ from tables: -1, 0, 1, 2, -3
        for (x, phi) in
            [(-1.0, 0.158_655_25), (0.0, 0.5), (1.0, 0.841_344_75), (2.0, 0.977_249_87), (-3.0, 0.001_349_898)]
        {
            assert!((f64::from(gelu(x)) - f64::from(x) * phi).abs() <= 1e-6 * f64::from(x.abs()) * phi, "{x}");
        }
        for f in [silu, gelu, gelu_tanh] {
            assert!(f(f32::NAN).is_nan() && f(0.0) == 0.0);
        }
        assert!(worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -40.0, 40.0) < 5e-7);
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    #[allow(clippy::float_cmp)] // the same operations
    fn clamped_swiglu_is_silu_between_its_limits_and_constant_beyond() {
        assert!(worst(|x| clamped_swiglu(x, -0.25, 1.0, 7.0), |x| 0.75 * x / (1.0 + (-x).exp()), -40.0, 7.0) < 5e-7);
        for (gate, up, gate_within, up_within) in [(9.0, 1.0, 7.0, 1.0), (2.0, -8.0, 2.0, -7.0), (7.5, 9.0, 7.0, 7.0)] {
            assert_eq!(clamped_swiglu(gate, up, 1.702, 7.0), clamped_swiglu(gate_within, up_within, 1.702, 7.0));
        }
        assert!(clamped_swiglu(f32::NAN, 1.0, 1.702, 7.0).is_nan());
        assert!(clamped_swiglu(1.0, f32::NAN, 1.702, 7.0).is_nan());
    }

    #[test]
    #[allow(clippy::float_cmp)] // the same operations
    fn clamped_silu_is_silu_up_to_its_limit() {
        assert!(worst(|x| clamped_silu(x, -0.25, 7.0), |x| -0.25 * x / (1.0 + (-x).exp()), -40.0, 7.0) < 5e-7);
        assert_eq!((clamped_silu(9.0, 1.0, 7.0), clamped_silu(2.0, -8.0, 7.0)), (7.0, -7.0 * silu(2.0)));
        assert!(clamped_silu(f32::NAN, 1.0, 7.0).is_nan());
        assert!(clamped_silu(1.0, f32::NAN, 7.0).is_nan());
    }

    #[test]
    fn bfloat16_rounds_to_nearest_even() {
        for bits in 0..=u16::MAX {
            let x = from_bfloat16(bits);
            assert!(to_bfloat16(x) == bits || x.is_nan());
            let (below, above) = (x, from_bfloat16(bits.wrapping_add(1)));
            if below.is_finite() && above.is_finite() && bits != 0x7fff {
                let middle = f32::from_bits(below.to_bits() + 0x8000);
                assert_eq!(to_bfloat16(middle) & 1, 0);
                assert_eq!(to_bfloat16(f32::from_bits(middle.to_bits() + 1)), bits + 1);
            }
        }
        assert!(from_bfloat16(to_bfloat16(f32::from_bits(0x7f80_0001))).is_nan());
    }
}
