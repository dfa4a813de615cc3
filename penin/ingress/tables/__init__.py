"""Tables: files of rows, each a key, a vector and perhaps metadata, told by their suffix."""
