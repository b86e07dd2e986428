//! The structs of the specification.

/// As [`pillbox_json::object`], and for tests with a way back to JSON.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$doc:meta])* $key:literal $($required:ident)? => $field:ident: $type:ty,)*
    }) => {
        pillbox_json::object! {
            $(#[$meta])* $name $(<$life>)? {
                $($(#[$doc])* $key $($required)? => $field: $type,)*
            }
        }

        #[cfg(test)]
        impl $(<$life>)? $crate::oci::spec::tests::Reflect for $name $(<$life>)? {
            fn reflect(&self) -> serde_json::Value {
                let members = [$(($key.to_string(), self.$field.reflect()),)*];
                serde_json::Value::Object(members.into_iter().collect())
            }
        }
    };
}
pub(crate) use object;
