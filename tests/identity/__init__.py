"""Who the client is: what the guard is told, and what it tells the backend."""
