"""The ways in for messages from outside: bytes in, messages out."""
