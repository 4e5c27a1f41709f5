//! The macro that defines the events of `event`.

/// Defines each event in one place: its fields, its name, its level, its sentence (in lower case,
/// without a full stop) and, for an event that requests can cause, the minimum time between two
/// lines for one subject.
macro_rules! events {
    ($(#[$enum_doc:meta])* enum $enum:ident $(, with $nested:ident($inner:ty))?; $(
        $(#[$doc:meta])*
        $variant:ident $({ $($(#[$attribute:meta])* $field:ident: $type:ty,)* })?
            => $name:literal, $level:expr, ($($sentence:tt)+)
            $(, every $pause:ident for $subject:expr)?;
    )*) => {
        $(#[$enum_doc])*
        /// Serializes as the fields of its line.
        #[derive(Debug, Serialize)]
        #[serde(untagged)]
        pub enum $enum {
            $(
                #[doc = "An event that another enum defines."]
                $nested($inner),
            )?
            $($(#[$doc])* $variant $({ $($(#[$attribute])* $field: $type,)* })?,)*
        }

        impl $enum {
            /// Returns the stable name, in `snake_case`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$nested(event) => event.name(),)?
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// Returns the severity of the event.
            pub fn level(&self) -> EventLevel {
                match self {
                    $(Self::$nested(event) => event.level(),)?
                    $(Self::$variant $({ $($field,)* })? => { $($(let _ = $field;)*)? $level })*
                }
            }

            /// Returns the subject that distinguishes the event from others with its name, and how
            /// long further events with the same subject are left out. `None` if the event is
            /// always logged.
            pub(super) fn rate_limit(&self) -> Option<(&str, Duration)> {
                match self {
                    $(Self::$nested(event) => event.rate_limit(),)?
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(let _ = $field;)*)?
                        None$(.or(Some(($subject, $pause))))?
                    })*
                }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$nested(event) => event.fmt(f),)?
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(let _ = $field;)*)?
                        write!(f, $($sentence)+)
                    })*
                }
            }
        }
    };
}
