"""The Unix-domain socket of a running worker: `docs/protocol.md` is what it speaks."""
