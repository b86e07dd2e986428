//! `--version`.

#[cfg(feature = "systemd")]
macro_rules! features {
    () => {
        "+SYSTEMD "
    };
}
#[cfg(not(feature = "systemd"))]
macro_rules! features {
    () => {
        ""
    };
}

/// What `--version` says: name, commit, specification, features.
pub const VERSION: &str = concat!(
    "pillbox version ",
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("PILLBOX_COMMIT"),
    "\nspec: 1.3.0\n",
    features!(),
    "+CAP +SECCOMP +EBPF\n"
);
