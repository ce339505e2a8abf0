"""The one place of a service that knows what all of its processes do."""
