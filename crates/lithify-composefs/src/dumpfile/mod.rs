//! Dumpfiles: trees as text, as C `mkcomposefs` reads them and `composefs-info` writes them.
