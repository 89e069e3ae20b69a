"""The server as processes: the supervisor, its workers, the data directory that they share."""
