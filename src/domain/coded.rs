//! Enums that clients know by numbers.

/// Gives an enum whose variants carry their numbers the conversions that serde uses for `try_from = "u8", into = "u8"`. `$rule` is the
/// sentence for a number that means nothing.
macro_rules! coded {
    ($name:ident { $($variant:ident = $number:literal),+ $(,)? }, $rule:literal) => {
        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value {
                    $( $name::$variant => $number, )+
                }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = &'static str;

            fn try_from(number: u8) -> Result<Self, Self::Error> {
                match number {
                    $( $number => Ok(Self::$variant), )+
                    _ => Err($rule),
                }
            }
        }
    };
}

pub(super) use coded;
