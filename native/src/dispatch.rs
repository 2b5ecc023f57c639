//! Which instructions to compute with, chosen once at run time.

use std::fmt;

/// Instruction sets that kernels exist for, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    NeonBf16,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

const ALL: &[Variant] = &[
    #[cfg(target_arch = "x86_64")]
    Variant::Amx,
    #[cfg(target_arch = "x86_64")]
    Variant::Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Variant::Avx512,
    #[cfg(target_arch = "x86_64")]
    Variant::Avx2,
    #[cfg(target_arch = "aarch64")]
    Variant::NeonBf16,
    #[cfg(target_arch = "aarch64")]
    Variant::Neon,
    Variant::Portable,
];

impl Variant {
    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16 => "neonbf16",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    fn supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512.supported() && crate::amx::supported(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512.supported() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && Self::Avx2.supported()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16 => crate::bfmmla::supported(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true, // part of the base instruction set
            Self::Portable => true,
        }
    }
}

/// VDPBF16PS, which does two multiplications, takes more than twice the time of a multiplication and addition on Intel's
/// processors (measured on Sapphire Rapids: 115 GFLOP/s against 185); on AMD's it takes the same.
#[cfg(target_arch = "x86_64")]
fn made_by_intel() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

/// Instruction sets in the order of their speed on this processor.
#[cfg(target_arch = "x86_64")]
fn by_speed(mut supported: Vec<Cpu>) -> Vec<Cpu> {
    if let Some(index) = supported.iter().position(|cpu| cpu.0 == Variant::Avx512Bf16)
        && made_by_intel()
    {
        supported.swap(index, index + 1);
    }
    supported
}

/// An instruction set that this machine has been found to support. Holding one is the proof that its kernels may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cpu(Variant);

impl Cpu {
    /// The supported instruction sets, best first; `portable` is always the last.
    pub fn supported() -> Vec<Self> {
        let supported: Vec<_> = ALL.iter().copied().filter(|variant| variant.supported()).map(Self).collect();
        #[cfg(target_arch = "x86_64")]
        let supported = by_speed(supported);
        supported
    }

    /// The instruction set of this name, or the best one. An unknown or unsupported name is an error.
    pub fn select(name: Option<&str>) -> Result<Self, String> {
        let supported = Self::supported();
        let found = supported.iter().find(|cpu| name.is_none_or(|name| cpu.name() == name));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = supported.iter().map(|cpu| cpu.name()).collect();
            format!("CPU variant \"{}\" is not one of {}", name.unwrap_or(""), names.join(", "))
        })
    }

    /// Name by which `select` finds it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether products multiply pairs of bfloat16 numbers in one instruction.
    pub fn has_bfloat16_products(self) -> bool {
        self.has_matrix_unit() || matches!(self.name(), "avx512bf16" | "neonbf16")
    }

    /// Whether these products are those of AMX.
    pub fn has_matrix_unit(self) -> bool {
        self.name() == "amx"
    }

    /// Which float32 vectors it has. See `multiversion!`.
    pub(crate) fn level(self) -> Level {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Variant::Amx | Variant::Avx512Bf16 | Variant::Avx512 => Level::Avx512,
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2 => Level::Avx2,
            #[cfg(target_arch = "aarch64")]
            Variant::NeonBf16 | Variant::Neon => Level::Neon,
            Variant::Portable => Level::Portable,
        }
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Width of the float32 vectors to use: what all kernels but the bfloat16 products depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// Declares a function that the compiler vectorises for each instruction set from one `#[inline(always)]` body:
/// `multiversion! { /// docs  pub fn name(x: &mut [f32], factor: f32) = body; }` declares `name(cpu, x, factor)`.
macro_rules! multiversion {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $body:path;)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name(cpu: $crate::dispatch::Cpu, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($argument: $type),*) {
                $body($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($argument: $type),*) {
                $body($($argument),*);
            }
            match cpu.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a `Cpu` of this level exists only where the features were detected.
                $crate::dispatch::Level::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::dispatch::Level::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "aarch64")]
                $crate::dispatch::Level::Neon => $body($($argument),*),
                $crate::dispatch::Level::Portable => $body($($argument),*),
            }
        }
    )*};
}
pub(crate) use multiversion;

#[cfg(test)]
mod tests {
    use super::Cpu;

    #[test]
    fn the_best_comes_first_and_portable_last() {
        let supported = Cpu::supported();
        assert_eq!(Cpu::select(None), Ok(supported[0]));
        assert_eq!(supported[supported.len() - 1].name(), "portable");
    }

    #[test]
    fn unknown_names_are_refused() {
        let error = Cpu::select(Some("mmx")).unwrap_err();
        assert!(error.contains("\"mmx\"") && error.contains("portable"), "{error}");
    }
}
