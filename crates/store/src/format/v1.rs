//! Format version 1, frozen: types with the layout on disk and nothing else.
//!
//! Fields and variants are never reordered, added or taken away here. A change
//! to a live type does not compile until its frozen mirror has been thought
//! about: every conversion below names each field and each variant, in both
//! directions. Then there is a next version with a `From` of this one, and what
//! it has replaced is only read here, by a layout without conversions; what it
//! has not replaced is part of it.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) mod common;
pub(super) mod pods;
pub(super) mod records;
pub(super) mod specs;
pub(super) mod steps;

/// A layout that is frozen, and the live type it stands for.
pub(super) trait Frozen: Sized {
    /// The engine's type.
    type Live;

    /// The live value as it is written.
    fn freeze(live: Self::Live) -> Self;

    /// The live value as it was read.
    fn thaw(self) -> Self::Live;
}

/// Declares a frozen struct and both conversions, field by field.
macro_rules! frozen_struct {
    ($($name:ident = $live:ty { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(in crate::format) struct $name { $($field: $type),* }

        impl $crate::format::v1::Frozen for $name {
            type Live = $live;

            fn freeze(live: $live) -> Self {
                type Live = $live;
                let Live { $($field),* } = live;
                Self { $($field: $crate::format::v1::Frozen::freeze($field)),* }
            }

            fn thaw(self) -> $live {
                type Live = $live;
                let Self { $($field),* } = self;
                Live { $($field: $crate::format::v1::Frozen::thaw($field)),* }
            }
        }
    )*};
}

/// Declares a frozen enum and both conversions, variant by variant.
macro_rules! frozen_enum {
    ($($name:ident = $live:ty {
        $($variant:ident $(($inner:ident: $of:ty))? $({ $($field:ident: $type:ty),* $(,)? })?),* $(,)?
    })*) => {$(
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(in crate::format) enum $name {
            $($variant $(($of))? $({ $($field: $type),* })?),*
        }

        impl $crate::format::v1::Frozen for $name {
            type Live = $live;

            fn freeze(live: $live) -> Self {
                type Live = $live;
                match live {$(
                    Live::$variant $(($inner))? $({ $($field),* })? => Self::$variant
                        $(($crate::format::v1::Frozen::freeze($inner)))?
                        $({ $($field: $crate::format::v1::Frozen::freeze($field)),* })?
                ),*}
            }

            fn thaw(self) -> $live {
                type Live = $live;
                match self {$(
                    Self::$variant $(($inner))? $({ $($field),* })? => Live::$variant
                        $(($crate::format::v1::Frozen::thaw($inner)))?
                        $({ $($field: $crate::format::v1::Frozen::thaw($field)),* })?
                ),*}
            }
        }
    )*};
}

pub(super) use {frozen_enum, frozen_struct};

/// Types whose layout bincode fixes for good.
macro_rules! frozen_as_they_are {
    ($($type:ty),*) => {$(
        impl Frozen for $type {
            type Live = $type;

            fn freeze(live: $type) -> Self {
                live
            }

            fn thaw(self) -> $type {
                self
            }
        }
    )*};
}

frozen_as_they_are!(bool, u8, u16, u32, u64, i32, i64, String);

impl<T: Frozen> Frozen for Option<T> {
    type Live = Option<T::Live>;

    fn freeze(live: Self::Live) -> Self {
        live.map(T::freeze)
    }

    fn thaw(self) -> Self::Live {
        self.map(T::thaw)
    }
}

impl<T: Frozen> Frozen for Vec<T> {
    type Live = Vec<T::Live>;

    fn freeze(live: Self::Live) -> Self {
        live.into_iter().map(T::freeze).collect()
    }

    fn thaw(self) -> Self::Live {
        self.into_iter().map(T::thaw).collect()
    }
}

/// What the live types share, which is written as if it were theirs alone.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(in crate::format) struct Shared<T>(T);

impl<T> Frozen for Shared<T>
where
    T: Frozen<Live: Clone>,
{
    type Live = Arc<T::Live>;

    fn freeze(live: Self::Live) -> Self {
        Self(T::freeze(Arc::unwrap_or_clone(live)))
    }

    fn thaw(self) -> Self::Live {
        Arc::new(self.0.thaw())
    }
}

impl<T: Frozen> Frozen for Box<T> {
    type Live = Box<T::Live>;

    fn freeze(live: Self::Live) -> Self {
        Box::new(T::freeze(*live))
    }

    fn thaw(self) -> Self::Live {
        Box::new((*self).thaw())
    }
}

impl<T: Frozen, const N: usize> Frozen for [T; N] {
    type Live = [T::Live; N];

    fn freeze(live: Self::Live) -> Self {
        live.map(T::freeze)
    }

    fn thaw(self) -> Self::Live {
        self.map(T::thaw)
    }
}

impl<A: Frozen, B: Frozen> Frozen for (A, B) {
    type Live = (A::Live, B::Live);

    fn freeze((a, b): Self::Live) -> Self {
        (A::freeze(a), B::freeze(b))
    }

    fn thaw(self) -> Self::Live {
        (self.0.thaw(), self.1.thaw())
    }
}

impl<K, V> Frozen for BTreeMap<K, V>
where
    K: Frozen + Ord,
    K::Live: Ord,
    V: Frozen,
{
    type Live = BTreeMap<K::Live, V::Live>;

    fn freeze(live: Self::Live) -> Self {
        let frozen = |(key, value)| (K::freeze(key), V::freeze(value));
        live.into_iter().map(frozen).collect()
    }

    fn thaw(self) -> Self::Live {
        self.into_iter()
            .map(|(key, value)| (key.thaw(), value.thaw()))
            .collect()
    }
}
