"""Everything asynchronous: mailbox, actor, checkpointer, recovery, supervisor, signals."""
