"""From files to values: strict YAML, the settings and the policy file, every fault with its place."""
