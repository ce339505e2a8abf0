"""What is counted for whoever watches over the service, and the form in which Prometheus reads it."""
