"""Who the client is, as the guard is told it and as it tells the backend; sans-IO."""
