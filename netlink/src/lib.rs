//! rtnetlink for pillbox.
