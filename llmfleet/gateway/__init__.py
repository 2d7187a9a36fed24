"""The gateway: OpenAI's API for clients, work orders for the fleet."""
