"""Models behind the gateway. One file for each kind; its name is its name in configuration."""
