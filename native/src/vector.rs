//! Float32 vectors of the instruction sets, as far as the product kernels need them.

/// A vector of float32 numbers.
///
/// # Safety
/// Its functions may be called only where the instruction set is present, inside a function that enables it, and its
/// pointers must be valid for a whole vector (no alignment needed).
pub unsafe trait Vector: Copy {
    /// Numbers in a vector.
    const LANES: usize;
    /// The same number in all lanes.
    unsafe fn splat(x: f32) -> Self;
    /// Numbers from memory.
    unsafe fn load(from: *const f32) -> Self;
    /// Pairs of bfloat16 numbers, one pair to a lane: the lower and the upper numbers, widened.
    unsafe fn load_pairs(from: *const u16) -> (Self, Self);
    /// Numbers to memory.
    unsafe fn store(self, to: *mut f32);
    /// `self` + a b
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
    /// `self` + other
    unsafe fn plus(self, other: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    // SAFETY: the caller keeps the promises of the trait, for all functions.
    unsafe impl Vector for __m512 {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_pairs(from: *const u16) -> (Self, Self) {
            // SAFETY: see above.
            unsafe {
                let pairs = _mm512_loadu_si512(from.cast());
                let upper = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
                (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(upper))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_add_ps(self, other) }
        }
    }

    // SAFETY: the caller keeps the promises of the trait, for all functions.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn load_pairs(from: *const u16) -> (Self, Self) {
            // SAFETY: see above.
            unsafe {
                let pairs = _mm256_loadu_si256(from.cast());
                let upper = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed()));
                (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(upper))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_add_ps(self, other) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Vector;
    use std::arch::aarch64::*;

    // SAFETY: the caller keeps the promises of the trait, for all functions.
    unsafe impl Vector for float32x4_t {
        const LANES: usize = 4;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see above.
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn load_pairs(from: *const u16) -> (Self, Self) {
            // SAFETY: see above.
            unsafe {
                let pairs = vreinterpretq_u32_u16(vld1q_u16(from));
                let upper = vandq_u32(pairs, vdupq_n_u32(0xffff_0000));
                (vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)), vreinterpretq_f32_u32(upper))
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { vst1q_f32(to, self) }
        }
        #[inline(always)]
        unsafe fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            unsafe { vfmaq_f32(self, a, b) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            // SAFETY: see above.
            unsafe { vaddq_f32(self, other) }
        }
    }
}

/// Four numbers in the compiler's own words, for every other processor.
#[derive(Clone, Copy)]
pub struct Four([f32; 4]);

// SAFETY: the caller's pointers are valid for four numbers; no instruction set is needed.
unsafe impl Vector for Four {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u16) -> (Self, Self) {
        // SAFETY: see above.
        let pairs = unsafe { from.cast::<[u32; 4]>().read_unaligned() };
        (Self(pairs.map(|pair| f32::from_bits(pair << 16))), Self(pairs.map(|pair| f32::from_bits(pair & 0xffff_0000))))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

/// Asks for the cache line of an address, which need not be valid, where the compiler has a way to say so. It goes to the
/// second-level cache: the first has too few places for all that is under way.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; a prefetch of an invalid address does nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for all cache lines of some bytes, whose address need not be valid.
#[inline(always)]
pub fn prefetch_bytes(start: *const u8, bytes: usize) {
    (0..bytes).step_by(64).for_each(|offset| prefetch(start.wrapping_add(offset)));
}
