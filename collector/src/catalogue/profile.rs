//! Device profiles that come with the program, so that the binary alone is enough. They are the files of
//! `config/devices`; a file of the user's with the same id wins.

macro_rules! built_in {
    ($($name:literal)*) => {
        /// Id, which is the file's name, and text of each.
        pub(super) const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../config/devices/", $name, ".toml"))),)*];
    };
}

built_in! {
    "abb-b23"
    "abb-terra-ac"
    "acrel-adw300"
    "alfen-ng9xx"
    "alpitronic-hpc"
    "chint-dtsu666"
    "chint-dtsu666-4"
    "eastron-sdm120"
    "eastron-sdm630"
    "eastron-x96-1a"
    "fuxin-corrector"
    "huawei-smartlogger"
    "huawei-sun2000"
    "janitza-b23"
    "janitza-umg96rm-e"
    "phoenix-charx"
    "schneider-iem3000"
    "schneider-pm3200"
    "siemens-pac2200"
    "sifuming-cod"
    "socomec-countis-e2x"
    "socomec-countis-e34"
    "sungrow-hybrid"
    "sungrow-string"
    "sunspec-103-40069"
    "sunspec-103-40070"
    "sunspec-203-40069"
    "sunspec-203-40070"
    "tc5210"
    "thermo-43i"
    "tuf-2000m"
    "xuedilong-scs-900pm"
}

/// What stands before the file name in problems and listings.
pub(super) const BUILT_IN_PREFIX: &str = "built-in/";
