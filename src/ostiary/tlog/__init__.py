"""The transparency log: an RFC 9162 tree in C2SP tlog-tiles files, its proofs and its verifier."""
