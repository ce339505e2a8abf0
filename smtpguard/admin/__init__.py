"""The admin endpoint: health, metrics, status, for the site's own people and never for clients."""
