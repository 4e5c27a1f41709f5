//! Finds addresses of listeners that cannot both be bound.

use super::ListenAddress;
use crate::config::field::Field;
use crate::config::redaction::quoted;

/// The addresses that were read so far, of all listeners.
#[derive(Default)]
pub(super) struct TakenAddresses<'a>(Vec<TakenAddress<'a>>);

struct TakenAddress<'a> {
    address: ListenAddress,
    source: AddressSource<'a>,
}

/// The place that an address comes from.
pub(super) enum AddressSource<'a> {
    /// This value of a file, a variable or a flag.
    Field(Field<'a>),
    /// The default of a setting.
    Default {
        setting: &'static str,
        /// The flag for the same value.
        flag: &'static str,
        can_be_empty: bool,
    },
}

impl<'a> TakenAddresses<'a> {
    /// Adds an address. Reports an earlier one that cannot be bound beside it (F-19), and then
    /// returns `false`.
    pub(super) fn add(&mut self, address: &ListenAddress, source: AddressSource<'a>) -> bool {
        let added = TakenAddress {
            address: address.clone(),
            source,
        };
        let clash = self.0.iter().find(|one| one.address.clashes_with(address));
        if let Some(earlier) = clash {
            report_clash(earlier, &added);
        }
        let is_free = clash.is_none();
        self.0.push(added);
        is_free
    }
}

/// Reports two addresses at the later one that is written. A default has no place.
fn report_clash(earlier: &TakenAddress<'_>, later: &TakenAddress<'_>) {
    let (field, address, other) = match (&earlier.source, &later.source) {
        (_, AddressSource::Field(field)) => (field, &later.address, earlier),
        (AddressSource::Field(field), AddressSource::Default { .. }) => {
            (field, &earlier.address, later)
        }
        // The defaults have different ports.
        (AddressSource::Default { .. }, AddressSource::Default { .. }) => return,
    };
    let is_equal = *address == other.address;
    let address = quoted(&address.to_string());
    let conflict = format!(
        "{address} conflicts with {}",
        quoted(&other.address.to_string())
    );
    let reason = "only one of them can be bound";
    let (message, remedy) = match &other.source {
        AddressSource::Field(first) => {
            let first = &first.path;
            let message = if is_equal {
                format!("{address} is listed twice, first as `{first}`")
            } else {
                format!("{conflict} (`{first}`): {reason}")
            };
            (
                message,
                "change or remove one of the two addresses".to_owned(),
            )
        }
        AddressSource::Default {
            setting,
            flag,
            can_be_empty,
        } => {
            // `egressd demo` has flags only.
            let is_flag = field.path.starts_with("--");
            let setting = if is_flag { flag } else { setting };
            let message = if is_equal {
                format!("{address} is also the default of `{setting}`")
            } else {
                format!("{conflict}, the default of `{setting}`: {reason}")
            };
            let empty = if *can_be_empty && !is_flag {
                " (`[]` if it is not needed)"
            } else {
                ""
            };
            let remedy = format!("choose another port, or set `{setting}`{empty}");
            (message, remedy)
        }
    };
    field.report("duplicate_address", message, remedy);
}
