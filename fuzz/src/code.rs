//! Inputs as bytes, both ways from one description: the bytes of a fuzzer become an input, and a program
//! can write the bytes of the input that it wants.
//!
//! Every sequence of bytes is an input: what is missing at its end is 0, and what is left over is ignored.

use arbitrary::{Result, Unstructured};

/// What bytes stand for.
pub trait Code: Sized {
    /// The value that the next bytes stand for.
    ///
    /// # Errors
    /// None, but [`Unstructured`] asks for it.
    fn decode(u: &mut Unstructured<'_>) -> Result<Self>;

    /// Appends bytes that stand for this value.
    fn encode(&self, bytes: &mut Vec<u8>);
}

/// Integers, lowest byte first.
macro_rules! integers {
    ($($integer:ty)*) => {
        $(impl Code for $integer {
            fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
                let mut bytes = [0; size_of::<Self>()];
                u.fill_buffer(&mut bytes)?;
                Ok(Self::from_le_bytes(bytes))
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        })*
    };
}
integers! { u8 i8 u16 i16 u32 i64 u64 }

impl Code for bool {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(u8::decode(u)? % 2 == 1)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        u8::from(*self).encode(bytes);
    }
}

/// Options are the exception: one in eight is there.
impl<T: Code> Code for Option<T> {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(if u8::decode(u)? % 8 == 1 {
            Some(T::decode(u)?)
        } else {
            None
        })
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        u8::from(self.is_some()).encode(bytes);
        if let Some(value) = self {
            value.encode(bytes);
        }
    }
}

/// Up to 255 values. Those beyond the end of the bytes are left out.
impl<T: Code> Code for Vec<T> {
    fn decode(u: &mut Unstructured<'_>) -> Result<Self> {
        let len = usize::from(u8::decode(u)?);
        let mut values = Self::new();
        while values.len() < len && !u.is_empty() {
            values.push(T::decode(u)?);
        }
        Ok(values)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let len = u8::try_from(self.len()).expect("a vector of at most 255 values");
        len.encode(bytes);
        for value in self {
            value.encode(bytes);
        }
    }
}

/// A `struct` whose fields follow each other, or an `enum` of which one byte chooses the variant: as often
/// as its weight says, out of the sum of the weights. That sum is at most 256.
macro_rules! coded {
    (
        $(#[$attr:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $vis:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* $vis $field: $type,)*
        }

        impl $crate::code::Code for $name {
            fn decode(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                Ok(Self {
                    $($field: $crate::code::Code::decode(u)?,)*
                })
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                $($crate::code::Code::encode(&self.$field, bytes);)*
            }
        }
    };
    (
        $(#[$attr:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $weight:literal => $variant:ident $(($($field:ident: $type:ty),*))?,)*
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant $(($($type),*))?,)*
        }

        impl $crate::code::Code for $name {
            fn decode(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                const SUM: u16 = 0 $(+ $weight)*;
                const { assert!(SUM <= 256) };
                let choice = u16::from(<u8 as $crate::code::Code>::decode(u)?) % SUM;
                let mut end = 0;
                $(
                    end += $weight;
                    if choice < end {
                        return Ok(Self::$variant $(($(<$type as $crate::code::Code>::decode(u)?),*))?);
                    }
                )*
                unreachable!("the choice is below the sum of the weights")
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                let mut start = 0_u8;
                $(
                    if let Self::$variant $(($($field),*))? = self {
                        $crate::code::Code::encode(&start, bytes);
                        $($($crate::code::Code::encode($field, bytes);)*)?
                    }
                    // Beyond the last variant this may be 256, which no one asks for.
                    start = start.wrapping_add($weight);
                )*
                let _ = start;
            }
        }
    };
}
pub(crate) use coded;

/// Lets a fuzz target take what has a [`Code`].
macro_rules! arbitrary {
    ($name:ty) => {
        impl<'a> arbitrary::Arbitrary<'a> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                $crate::code::Code::decode(u)
            }
        }
    };
}
pub(crate) use arbitrary;
