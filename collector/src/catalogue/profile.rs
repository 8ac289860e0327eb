//! Device profiles that come with the program, so that the binary alone is enough. They are the files of
//! `config/devices`; a file of the user's with the same id wins.

macro_rules! built_in {
    ($($name:literal)*) => {
        /// File name and text of each.
        pub(super) const BUILT_IN: &[(&str, &str)] =
            &[$((concat!($name, ".toml"), include_str!(concat!("../../../config/devices/", $name, ".toml"))),)*];
    };
}

built_in! {
    "eastron-sdm630"
}

/// What stands before the file name in problems and listings.
pub(super) const BUILT_IN_PREFIX: &str = "built-in/";
