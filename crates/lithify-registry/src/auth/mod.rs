//! Who we are, and proving it to a registry.
