//! The instruction sets: which there are, which one a call uses, and the one `match` that enters
//! it.

use core::fmt;

use crate::error::{BackendName, Error};
use crate::kernel::partial::Arithmetic;
#[cfg(feature = "std")]
use crate::scalar::Scalar;
use crate::simd::Kernel;
use crate::simd::portable::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this processor supports. One that it does not support cannot be
/// expressed.
///
/// | name | lanes come from | when |
/// | --- | --- | --- |
/// | `scalar` | textbook loops, the standard library's `exp` | on request: the baseline |
/// | `portable` | the crate `wide`: SSE2, NEON, wasm `simd128` | always |
/// | `avx2` | AVX2 and FMA | detected |
/// | `avx512` | AVX-512F | detected |
///
/// Every call uses the last one available, unless the environment variable `SOFTLANE_BACKEND` names
/// another, or [`Exec::backend`](crate::Exec::backend) does.
///
/// ```
/// use softlane::{Backend, Exec};
///
/// let portable = Exec::new().backend(Backend::named("portable")?);
/// let mut p = [0.0_f32; 2];
/// portable.softmax(&[1.0, 1.0], 2, &mut p)?;
/// assert_eq!(p, [0.5, 0.5]);
/// # Ok::<(), softlane::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Backend(Path);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    #[cfg(feature = "std")]
    Scalar,
    Vector(Isa),
}

/// An instruction set with vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// What every backend can run: the vector form, and the scalar path where there is one.
#[cfg(feature = "std")]
pub trait Operation<D>: Kernel<D> + Scalar<D> {}
#[cfg(feature = "std")]
impl<D, K: Kernel<D> + Scalar<D>> Operation<D> for K {}

/// What every backend can run.
#[cfg(not(feature = "std"))]
pub trait Operation<D>: Kernel<D> {}
#[cfg(not(feature = "std"))]
impl<D, K: Kernel<D>> Operation<D> for K {}

impl Backend {
    /// Every backend that runs here, slowest first.
    ///
    /// ```
    /// let names: Vec<_> = softlane::Backend::available().map(|b| b.name()).collect();
    /// assert!(names.starts_with(&["scalar", "portable"]));
    /// ```
    pub fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(feature = "std")]
            Some(Path::Scalar),
            Some(Path::Vector(Isa::Portable(Portable))),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(|simd| Path::Vector(Isa::Avx2(simd))),
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(|simd| Path::Vector(Isa::Avx512(simd))),
        ]
        .into_iter()
        .flatten()
        .map(Self)
    }

    /// The backend of that name.
    ///
    /// # Errors
    /// [`Error::Backend`], whose message lists the supported ones, if the name is unknown or this
    /// processor lacks the instruction set.
    ///
    /// ```
    /// let error = softlane::Backend::named("mmx").unwrap_err();
    /// assert!(error.to_string().starts_with("backend \"mmx\" is not supported here; supported: "));
    /// ```
    pub fn named(name: &str) -> Result<Self, Error> {
        Self::find(name).ok_or_else(|| Error::Backend {
            name: BackendName::new(name),
        })
    }

    fn find(name: &str) -> Option<Self> {
        Self::available().find(|backend| backend.name() == name)
    }

    /// The name: `scalar`, `portable`, `avx2` or `avx512`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(feature = "std")]
            Path::Scalar => "scalar",
            Path::Vector(Isa::Portable(_)) => "portable",
            #[cfg(target_arch = "x86_64")]
            Path::Vector(Isa::Avx2(_)) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Path::Vector(Isa::Avx512(_)) => "avx512",
        }
    }

    /// Whether multiply-add is fused. All backends where it is give the same bits; the others
    /// (`scalar`, and `portable` on SSE2 or wasm) have error bounds of their own.
    #[must_use]
    pub fn is_fused(self) -> bool {
        match self.0 {
            #[cfg(feature = "std")]
            Path::Scalar => false,
            Path::Vector(Isa::Portable(_)) => crate::simd::portable::FUSED,
            #[cfg(target_arch = "x86_64")]
            Path::Vector(Isa::Avx2(_) | Isa::Avx512(_)) => true,
        }
    }

    /// What decides the bits of its results.
    pub(crate) fn arithmetic(self) -> Arithmetic {
        match self.0 {
            #[cfg(feature = "std")]
            Path::Scalar => Arithmetic::Scalar,
            Path::Vector(_) if self.is_fused() => Arithmetic::Fused,
            Path::Vector(_) => Arithmetic::Unfused,
        }
    }

    /// What calls use that name no backend: the fastest available, or what the environment
    /// variable `SOFTLANE_BACKEND` names. Found once, then remembered.
    ///
    /// # Errors
    /// [`Error::Backend`] if the variable names none that is supported here. Every call without a
    /// backend of its own then returns that error.
    ///
    /// ```
    /// println!("{}", softlane::Backend::active()?.name());
    /// # Ok::<(), softlane::Error>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn active() -> Result<Self, Error> {
        static ACTIVE: std::sync::LazyLock<Result<Backend, Error>> =
            std::sync::LazyLock::new(|| match std::env::var_os("SOFTLANE_BACKEND") {
                Some(name) => {
                    let name = name.to_string_lossy();
                    Backend::find(&name).ok_or_else(|| Error::Backend {
                        name: BackendName::new(&name).of_environment(),
                    })
                }
                None => Ok(Backend::fastest()),
            });
        *ACTIVE
    }

    /// What calls use that name no backend: the fastest that the compiler's target has.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "std"))]
    pub fn active() -> Result<Self, Error> {
        Ok(Self::fastest())
    }

    fn fastest() -> Self {
        Self::available()
            .last()
            .unwrap_or(Self(Path::Vector(Isa::Portable(Portable))))
    }

    /// Runs a kernel.
    pub(crate) fn run<D, K: Operation<D>>(self, kernel: &K, data: D) -> K::Output {
        match self.0 {
            #[cfg(feature = "std")]
            Path::Scalar => kernel.scalar(data),
            Path::Vector(isa) => isa.run(kernel, data),
        }
    }

    /// The instruction set that rows are copied with.
    pub(crate) fn copies_with(self) -> Isa {
        match self.0 {
            #[cfg(feature = "std")]
            Path::Scalar => Isa::Portable(Portable),
            Path::Vector(isa) => isa,
        }
    }

    /// The instruction set; the scalar path has none.
    #[cfg(feature = "rayon")]
    pub(crate) fn isa(self) -> Option<Isa> {
        match self.0 {
            Path::Scalar => None,
            Path::Vector(isa) => Some(isa),
        }
    }
}

impl Isa {
    /// Runs a kernel with this instruction set. The one place where it is entered.
    pub(crate) fn run<D, K: Kernel<D>>(self, kernel: &K, data: D) -> K::Output {
        match self {
            Self::Portable(simd) => simd.run(kernel, data),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(kernel, data),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => simd.run(kernel, data),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name())
    }
}
