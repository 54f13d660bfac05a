"""What the gateway costs, measured."""
